//! Tests of `accounts`.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Accounts, Malformed> {
    Accounts::parse(text.as_bytes())
}

fn account(rights: Rights, home: &str) -> Account {
    Account {
        password: PasswordHash::decoy().unwrap(),
        rights,
        home: home.parse().unwrap(),
        quota: None,
    }
}

fn hash() -> String {
    PasswordHash::decoy().unwrap().into()
}

#[test]
fn a_file_reads_as_people_expect() {
    let text = format!(
        "[users.ada]\npassword = \"{}\"\nrights = [\"read\", \"write\"]\nhome = \"/pub/ada/\"\nquota = 1073741824\n\
         [users.\"bob@example.org\"]\npassword = \"{}\"\nrights = []\n",
        hash(),
        hash()
    );
    let accounts = parse(&text).unwrap();
    let (name, ada) = accounts.get("ada").unwrap();
    assert_eq!(name.as_str(), "ada");
    assert_eq!(ada.rights, Rights::READ.with(Rights::WRITE));
    assert_eq!(ada.home.to_string(), "/pub/ada");
    assert_eq!(ada.quota, Some(1024 * 1024 * 1024));
    let (_, bob) = accounts.get("bob@example.org").unwrap();
    assert_eq!(
        (bob.rights, bob.home.to_string().as_str(), bob.quota),
        (Rights::NONE, "/", None)
    );
    assert!(accounts.get("carol").is_none());
    assert_eq!(parse("").unwrap(), Accounts::default());
}

#[test]
fn what_is_wrong_is_an_error_with_its_line_and_without_the_hash() {
    let hash = hash();
    let good = format!("[users.ada]\npassword = \"{hash}\"\nrights = [\"read\"]\n");
    assert!(parse(&good).is_ok());
    for (text, line, problem) in [
        (good.replace("ada", "Ada"), 1, "a name is"),
        (good.replace("ada", "\"a b\""), 1, "a name is"),
        (good.replace("m=19456", "m=1"), 2, "not an argon2id hash"),
        (
            good.replace("[\"read\"]", "[\"reed\"]"),
            3,
            "unknown variant `reed`",
        ),
        (good.replace("[\"read\"]", "\"read\""), 3, ""),
        (good.replace("rights", "right"), 3, "unknown field `right`"),
        (format!("{good}home = \"pub\"\n"), 4, "a home is"),
        (format!("{good}home = \"/a/../b\"\n"), 4, "a home is"),
        (format!("{good}quota = \"5\"\n"), 4, "invalid type"),
        (format!("{good}quota = -1\n"), 4, "invalid value"),
        (format!("{good}quotas = 5\n"), 4, "unknown field `quotas`"),
        (format!("{good}{good}"), 4, "duplicate key"),
        (format!("{good}rights = []\n"), 4, "duplicate key"),
        (format!("user = 1\n{good}"), 1, "unknown field `user`"),
        (
            "[users.ada]\nrights = []\n".to_owned(),
            1,
            "missing field `password`",
        ),
        (
            format!("[users.ada]\npassword = \"{hash}\"\n"),
            1,
            "missing field `rights`",
        ),
        ("[users\n".to_owned(), 1, ""),
        // What was typed in the wrong place stays unsaid, too.
        (format!("[users]\nada = \"{hash}\"\n"), 2, "invalid type"),
        ("[users]\nada = \"secret\"\n".to_owned(), 2, "invalid type"),
        (good.replace("[\"read\"]", "\"secret\""), 3, "invalid type"),
        (
            good.replace("\"read\"", &format!("\"{hash}\"")),
            3,
            "unknown variant",
        ),
        (format!("{good}\"{hash}\" = 1\n"), 4, "unknown field"),
    ] {
        let refusal = parse(&text).unwrap_err();
        assert!(
            refusal.line == line && refusal.problem.contains(problem),
            "{text}: {refusal:?}"
        );
        for secret in ["$argon2id$", "secret"] {
            assert!(!refusal.problem.contains(secret), "{refusal:?}");
        }
    }
}

#[test]
fn names_and_homes_are_checked() {
    for name in ["a", "0", "ada.b_c@d-e", &"x".repeat(64)] {
        assert!(name.parse::<UserName>().is_ok(), "{name}");
    }
    for name in [
        "",
        ".a",
        "-a",
        "A",
        "a b",
        "a/b",
        "ä",
        "a\n",
        "a\0",
        &"x".repeat(65),
    ] {
        assert_eq!(name.parse::<UserName>(), Err(NameError), "{name}");
    }
    for home in ["/", "/a", "/a/b c/", "/ä"] {
        assert!(home.parse::<Home>().is_ok(), "{home}");
    }
    let long = format!("/{}", "x/".repeat(128));
    for home in ["", "a", "//", "/a//b", "/./a", "/a/..", "/a\0b", &long] {
        assert_eq!(home.parse::<Home>(), Err(HomeError), "{home}");
    }
}

#[test]
fn a_name_is_taken_once() {
    let mut accounts = Accounts::default();
    let ada: UserName = "ada".parse().unwrap();
    assert!(accounts.add(ada.clone(), account(Rights::READ, "/")));
    assert!(!accounts.add(ada.clone(), account(Rights::ALL, "/")));
    assert_eq!(accounts.get("ada").unwrap().1.rights, Rights::READ);
    assert!(accounts.remove(&ada));
    assert!(!accounts.remove(&ada));
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        users in proptest::collection::btree_map("[a-z0-9][a-z0-9._@-]{0,63}", (0u8..8, proptest::option::of(0..=i64::MAX as u64), "(/[a-zé \"'\\\\\\PC&&[^/]]{1,20}){0,4}"), 0..6)
    ) {
        let mut accounts = Accounts::default();
        for (name, (bits, quota, home)) in users {
            let home = if home.is_empty() { "/" } else { &home };
            // Not every text of this form is a path: `.` and `..` are none.
            let Ok(home) = home.parse::<Home>() else { continue };
            let account = Account { home, quota, ..account(Rights::from_bits(bits).unwrap(), "/") };
            accounts.add(name.parse().unwrap(), account);
        }
        let text = accounts.to_text().unwrap();
        prop_assert_eq!(parse(&text), Ok(accounts), "{}", text);
    }

    #[test]
    fn no_text_is_too_much(text: String) {
        if let Err(refusal) = parse(&text) {
            prop_assert!(refusal.line <= 1 + text.matches('\n').count());
        }
    }

    #[test]
    fn text_that_looks_like_accounts_is_no_more(
        name in "\\PC{0,12}", key in "(password|rights|home|[a-z]{1,8})", value in "(\"\\PC{0,40}\"|\\[\\PC{0,20}\\]|[0-9]{1,5})"
    ) {
        let _verdict = parse(&format!("[users.\"{name}\"]\n{key} = {value}\n"));
    }
}

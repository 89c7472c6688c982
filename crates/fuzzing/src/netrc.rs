//! `.netrc`.

use ftpclient::netrc::find;

use crate::Target;

const HOST: &[u8] = b"nas.example.org";
const USER: &[u8] = b"ada";

/// Any file, looked through for one host and one user.
pub static NETRC: Target = Target {
    name: "netrc",
    fixed: 1024,
    for_each_byte: crate::USUAL,
    prepare: crate::nothing,
    work: |text| {
        let found = find(text, HOST, USER);
        // Without a backslash, a word stands in the file as it is read.
        if let Some(password) = &found
            && !text.contains(&b'\\')
        {
            assert!(
                holds(&text.to_ascii_lowercase(), HOST),
                "another's password"
            );
            assert!(holds(text, password));
        }
        // An entry of our own before the others counts.
        let entry: &[u8] = br#"machine nas.example.org login ada password "a \"b\"" machine x "#;
        assert_eq!(
            find(&[entry, text].concat(), HOST, USER).as_deref(),
            Some(br#"a "b""#.as_slice())
        );
    },
};

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|part| part == wanted)
}

//! `.netrc`: words in pairs, as ftp(1) and curl read them. Pure.
//!
//! `machine HOST login USER password PASSWORD`, over as many lines as one likes. `default` is passed over: a password goes
//! only to a host that was named for it.

/// The password of `user` at `host`; of several entries the first one counts. An entry without a `login` is anybody's.
#[must_use]
pub fn find(text: &[u8], host: &[u8], user: &[u8]) -> Option<Vec<u8>> {
    let mut words = Words { rest: text };
    let mut entry = Entry::default();
    while let Some(word) = words.next() {
        match word.as_slice() {
            b"machine" | b"default" => {
                if let Some(password) = entry.password_of(user) {
                    return Some(password);
                }
                let is_host = word == b"machine"
                    && words
                        .next()
                        .is_some_and(|name| name.eq_ignore_ascii_case(host));
                entry = Entry {
                    is_host,
                    ..Entry::default()
                };
            }
            b"login" => entry.login = words.next(),
            b"password" => entry.password = words.next(),
            b"account" => {
                words.next();
            }
            b"macdef" => words.skip_macro(),
            _ => {}
        }
    }
    entry.password_of(user)
}

#[derive(Default)]
struct Entry {
    is_host: bool,
    login: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl Entry {
    fn password_of(&mut self, user: &[u8]) -> Option<Vec<u8>> {
        let is_user = self.login.as_deref().is_none_or(|login| login == user);
        self.password.take().filter(|_| self.is_host && is_user)
    }
}

struct Words<'a> {
    rest: &'a [u8],
}

impl Words<'_> {
    /// A word ends at white space; one in double quotes may hold some, and `\\` takes the next character as it is.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            match self.rest.first()? {
                b'#' => self.skip_line(),
                _ => break,
            }
        }
        let is_quoted = self.rest.first() == Some(&b'"');
        let mut bytes = self.rest.iter();
        if is_quoted {
            bytes.next();
        }
        let mut word = Vec::new();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'"' if is_quoted => break,
                b'\\' if is_quoted => word.extend(bytes.next()),
                _ if !is_quoted && byte.is_ascii_whitespace() => break,
                _ => word.push(byte),
            }
        }
        self.rest = bytes.as_slice();
        Some(word)
    }

    fn skip_line(&mut self) {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        self.rest = end.and_then(|end| self.rest.get(end..)).unwrap_or_default();
    }

    /// A macro goes up to an empty line.
    fn skip_macro(&mut self) {
        let end = self.rest.windows(2).position(|pair| pair == b"\n\n");
        self.rest = end.and_then(|end| self.rest.get(end..)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Option<String> {
        find(text.as_bytes(), b"host", b"ada").map(|found| String::from_utf8(found).unwrap())
    }

    #[test]
    fn the_entry_of_host_and_user_counts() {
        for (text, password) in [
            ("machine host login ada password secret", Some("secret")),
            (
                "machine HOST\n\tlogin ada\n\tpassword secret\n",
                Some("secret"),
            ),
            ("machine host password secret login ada", Some("secret")),
            ("machine host password secret", Some("secret")),
            (
                "machine host login ada password \"a b\\\"c\"",
                Some("a b\"c"),
            ),
            (
                "machine host login bob password x\nmachine host login ada password y",
                Some("y"),
            ),
            ("machine host account x login ada password y", Some("y")),
            (
                "# machine host password x\nmachine host login ada password y",
                Some("y"),
            ),
            (
                "macdef m\nmachine host password x\n\nmachine host login ada password y",
                Some("y"),
            ),
            ("machine other login ada password x", None),
            ("machine host login bob password x", None),
            ("machine host login ada", None),
            ("default login ada password x", None),
            ("machine host login ada default password x", None),
            ("machine hostile login ada password x", None),
            ("machine", None),
            ("", None),
        ] {
            assert_eq!(found(text).as_deref(), password, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(words in proptest::collection::vec("(machine|host|ada|login|password|macdef|default|#|\"|\\\\|\n|\\PC)", 0..30)) {
            found(&words.join(" "));
        }
    }
}

//! A command as it was typed, read by the command's row in the table.

use protocol::RemotePath;

use crate::command::{Command, Value, find};
use crate::failure::Failure;
use crate::look::Look;
use crate::names::is_plain;
use crate::session::Session;
use crate::words::Word;

/// A command as it was typed: options taken apart, words counted.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) command: &'static Command,
    options: Vec<u8>,
    long_options: Vec<(&'static str, Word)>,
    pub(crate) words: Vec<Word>,
}

impl Invocation {
    /// Reads a command; options may stand anywhere before a `--`.
    pub(crate) fn read(words: Vec<Word>) -> Result<Self, Failure> {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        let mut invocation = Self {
            command: find(name.literal())?,
            options: Vec::new(),
            long_options: Vec::new(),
            words: Vec::new(),
        };
        let mut options_end = invocation.command.name == "!";
        while let Some(word) = words.next() {
            match word.literal().split_first() {
                Some((b'-', b"-")) if !options_end => options_end = true,
                Some((b'-', [b'-', ..])) if !options_end => {
                    invocation.add_long_option(&word, &mut words)?;
                }
                Some((b'-', letters)) if !options_end && !letters.is_empty() => {
                    invocation.add_options(letters)?;
                }
                _ => invocation.words.push(word),
            }
        }
        let (count, wanted) = (invocation.words.len(), &invocation.command.words);
        if count < *wanted.start() {
            return Err(invocation.usage("a name is missing"));
        }
        if count > *wanted.end() {
            return Err(invocation.usage("too many names"));
        }
        // Taken as a path it would be the current folder: `rm -r "$unset"` must not empty it.
        if invocation
            .words
            .iter()
            .any(|word| word.literal().is_empty())
        {
            return Err(invocation.usage("a name is empty"));
        }
        Ok(invocation)
    }

    /// Whether the option was given.
    pub(crate) fn has(&self, option: u8) -> bool {
        self.options.contains(&option)
    }

    /// Whether the long option was given.
    pub(crate) fn has_long(&self, option: &str) -> bool {
        self.long_options.iter().any(|(name, _)| *name == option)
    }

    /// The long options with their values, in the order in which they were typed.
    pub(crate) fn long_options(&self) -> impl Iterator<Item = (&'static str, &Word)> {
        self.long_options.iter().map(|(name, value)| (*name, value))
    }

    /// The word at `index` behind the options.
    pub(crate) fn word(&self, index: usize) -> Option<&Word> {
        self.words.get(index)
    }

    /// The name that is looked at before anything else is done, seen from `folder`, and how; `None` where that cannot be told.
    pub(crate) fn looks_at(&self, folder: &RemotePath) -> Option<(RemotePath, Look)> {
        let look = match self.command.looks_first? {
            // Several names, the last of which is a local one, are looked at together.
            Look::ToGet if self.words.len() > 2 => Look::Through,
            look => look,
        };
        match self.word(0) {
            // A name with wildcards may be there as it was typed, be it a link.
            Some(word) if !is_plain(word) => {
                Some((folder.resolve(word.literal()).ok()?, Look::AtName))
            }
            Some(word) => Some((folder.resolve(word.literal()).ok()?, look)),
            None if look == Look::ThroughOrHere => Some((folder.clone(), look)),
            None => None,
        }
    }

    /// Does it.
    pub(crate) fn run(&self, session: &mut Session) -> Result<(), Failure> {
        (self.command.run)(session, self)
    }

    /// What is wrong with it, and how it should look.
    pub(crate) fn usage(&self, problem: &str) -> Failure {
        let Command { name, synopsis, .. } = self.command;
        Failure::Usage(format!("{name}: {problem}; usage: {synopsis}"))
    }

    fn add_options(&mut self, letters: &[u8]) -> Result<(), Failure> {
        let known = self.command.options.as_bytes();
        if letters.iter().all(|letter| known.contains(letter)) {
            self.options.extend_from_slice(letters);
            return Ok(());
        }
        let problem = format!("unknown option '-{}'", cli::name(letters));
        Err(self.usage(&problem))
    }

    fn add_long_option(
        &mut self,
        word: &Word,
        rest: &mut impl Iterator<Item = Word>,
    ) -> Result<(), Failure> {
        let (name, attached) = word.split_option();
        let known = self.command.long_options.iter();
        let found = known.copied().find(|(known, _)| known.as_bytes() == name);
        let problem = |what: &str| format!("{what} '--{}'", cli::name(name));
        let (name, value) = match (found, attached) {
            (None, _) => return Err(self.usage(&problem("unknown option"))),
            (Some((_, Value::None)), Some(_)) => {
                return Err(self.usage(&problem("no value belongs to")));
            }
            (Some((name, Value::None)), None) => (name, Word::default()),
            (Some((name, Value::Needed)), Some(value)) => (name, value),
            (Some((name, Value::Needed)), None) => match rest.next() {
                Some(value) => (name, value),
                None => return Err(self.usage(&problem("a value is missing behind"))),
            },
        };
        self.long_options.push((name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script;

    fn read(line: &str) -> Invocation {
        let mut commands = script::read(line.as_bytes()).unwrap();
        assert_eq!(commands.len(), 1);
        commands.remove(0)
    }

    fn refusal(line: &str) -> String {
        script::read(line.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn options_stand_anywhere_before_two_dashes() {
        let get = read("get -r a -fn b -- -x");
        assert!(get.has(b'r') && get.has(b'f') && get.has(b'n'));
        let words: Vec<_> = get.words.iter().map(Word::literal).collect();
        assert_eq!(words, [b"a".as_slice(), b"b", b"-x"]);
        assert_eq!(read("put -").words.len(), 1);
    }

    #[test]
    fn what_is_looked_at_first_is_the_name_as_it_was_typed() {
        let looked = |line: &str| {
            let (path, look) = read(line).looks_at(&RemotePath::root())?;
            Some((String::from_utf8(path.as_bytes().to_vec()).unwrap(), look))
        };
        for (line, path, look) in [
            ("get a", "/a", Look::ToGet),
            ("get a b", "/a", Look::ToGet),
            ("get a b c", "/a", Look::Through),
            ("get d/a* b", "/d/a*", Look::AtName),
            ("ls", "/", Look::ThroughOrHere),
            ("cd d", "/d", Look::Through),
            ("stat a", "/a", Look::AtName),
        ] {
            assert_eq!(looked(line), Some((path.to_owned(), look)), "{line}");
        }
        for line in ["put a", "cd"] {
            assert_eq!(looked(line), None, "{line}");
        }
    }

    #[test]
    fn wrong_usage_names_the_flag_and_shows_how_to_mend_it() {
        assert_eq!(
            refusal("get -x a"),
            "get: unknown option '-x'; usage: get [-r] [-f] [-n] REMOTE... [LOCAL]"
        );
        assert_eq!(
            refusal("get"),
            "get: a name is missing; usage: get [-r] [-f] [-n] REMOTE... [LOCAL]"
        );
        assert_eq!(refusal("pwd x"), "pwd: too many names; usage: pwd");
        assert_eq!(
            refusal("frob x"),
            "unknown command 'frob': 'help' lists the commands"
        );
        assert_eq!(
            refusal("get --recursive x").split(';').next(),
            Some("get: unknown option '--recursive'")
        );
    }

    #[test]
    fn long_options_take_their_values_either_way() {
        let mirror = read("mirror --exclude '*.o' --delete a --include=b*c -u -- --x");
        assert!(mirror.has_long("delete") && mirror.has(b'u') && !mirror.has_long("dry-run"));
        let words: Vec<_> = mirror.words.iter().map(Word::literal).collect();
        assert_eq!(words, [b"a".as_slice(), b"--x"]);
        let options: Vec<_> = mirror
            .long_options()
            .map(|(name, value)| (name, value.literal().to_vec(), value.pattern().to_vec()))
            .collect();
        assert_eq!(options[0], ("exclude", b"*.o".to_vec(), br"\*.o".to_vec()));
        assert_eq!(options[2], ("include", b"b*c".to_vec(), b"b*c".to_vec()));
        for (line, problem) in [
            ("mirror --delet a", "unknown option '--delet'"),
            ("mirror --delete=x a", "no value belongs to '--delete'"),
            (
                "mirror a --exclude",
                "a value is missing behind '--exclude'",
            ),
        ] {
            assert!(refusal(line).starts_with(&format!("mirror: {problem}; usage: ")));
        }
    }
}

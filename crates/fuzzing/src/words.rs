//! Lines of commands.

use ftpclient::glob::{Pattern, has_wildcards, unescaped};
use ftpclient::words::{Word, split};

use crate::Target;

/// Any text as commands, and as a name that is to be quoted. A command of one letter takes some hundred bytes.
pub static WORDS: Target = Target {
    name: "words",
    fixed: 4 * 1024,
    for_each_byte: 256,
    prepare: crate::nothing,
    work: |text| {
        let quoted = Word::quoted(text);
        assert_eq!(quoted.literal(), text);
        assert!(!has_wildcards(quoted.pattern()));
        assert_eq!(unescaped(quoted.pattern()), text);

        let Ok(commands) = split(text) else {
            return;
        };
        for word in commands.iter().flatten() {
            let (name, value) = word.split_option();
            assert!(value.is_none_or(|value| word.literal().ends_with(value.literal())));
            assert!(!name.contains(&b'='));
            if let Some(literal) = Pattern::new(word.pattern()).literal()
                && !text.contains(&b'\\')
            {
                assert_eq!(literal, word.literal());
            }
        }
        let read = split(&written(&commands)).map(|again| literals(&again));
        assert_eq!(read, Ok(literals(&commands)));
    },
};

/// The commands, with every word in quotes.
fn written(commands: &[Vec<Word>]) -> Vec<u8> {
    let mut text = Vec::new();
    for words in commands {
        for word in words {
            text.push(b'\'');
            for &byte in word.literal() {
                match byte {
                    b'\'' => text.extend(br"'\''"),
                    byte => text.push(byte),
                }
            }
            text.extend(b"' ");
        }
        text.push(b';');
    }
    text
}

fn literals(commands: &[Vec<Word>]) -> Vec<Vec<Vec<u8>>> {
    let literals = |words: &Vec<Word>| words.iter().map(|word| word.literal().to_vec()).collect();
    commands.iter().map(literals).collect()
}

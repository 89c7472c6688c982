//! Configuration files of the three programs.

use std::path::Path;
use std::str;

use clap::Command;
use cli::ConfigFile;

use crate::Target;

/// The first byte of an input chooses the program, the rest is the file.
pub static CONFIG: Target = Target {
    name: "config",
    fixed: 128 * 1024,
    for_each_byte: crate::accounts::TOML,
    prepare: || PROGRAMS.with(|_| {}),
    work: |input| {
        let Some((&choice, content)) = input.split_first() else {
            return;
        };
        let Ok(text) = str::from_utf8(content) else {
            return;
        };
        PROGRAMS.with(|programs| {
            if let Some(program) = programs.get(usize::from(choice) % programs.len()) {
                read(text, program);
            }
        });
    },
};

thread_local! {
    static PROGRAMS: [Command; 3] = built();
}

fn built() -> [Command; 3] {
    let programs = [
        ftpmaster::command(),
        ftpslave::command(),
        ftpclient::command(),
    ];
    programs.map(|mut program| {
        program.build();
        program
    })
}

fn read(text: &str, program: &Command) {
    match ConfigFile::parse(Path::new("file"), text, program) {
        Ok(file) => {
            let settings: Vec<_> = file.settings().collect();
            assert!(settings.is_sorted_by(|(one, _), (other, _)| one < other));
            assert!(
                settings
                    .iter()
                    .all(|(key, _)| text.contains(key) || text.contains('\\'))
            );
        }
        Err(error) => {
            let said = error.to_string();
            let line = said
                .strip_prefix("file:")
                .and_then(|said| said.split_once(": "))
                .and_then(|(line, _)| line.parse::<usize>().ok());
            let lines = 1 + text.matches('\n').count();
            assert!(
                line.is_some_and(|line| (1..=lines).contains(&line)),
                "{said}"
            );
        }
    }
}

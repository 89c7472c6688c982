//! A TOML file whose keys are the long names of a program's options: it gives them other defaults.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::de::{DeTable, DeValue};

use crate::parse::{find, setting_name, wrong_value};

/// A file that has been read and found to speak of this program's options only.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    key: String,
    line: usize,
    values: Vec<String>,
    /// As clap writes the argument in its errors.
    argument: String,
}

impl ConfigFile {
    /// Reads the file at `path` for `command`.
    pub(crate) fn read(path: &Path, command: &Command) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read '{}'", path.display()))?;
        let mut complete = command.clone();
        complete.build();
        Self::parse(path, &text, &complete)
    }

    /// What `text`, which stands at `path`, says to the program with this command, which is [built](Command::build).
    ///
    /// # Errors
    /// The first line that is not understood, or names no option.
    pub fn parse(path: &Path, text: &str, command: &Command) -> Result<Self> {
        let settings = settings(text, command)
            .map_err(|(line, problem)| anyhow!("{}:{line}: {problem}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            settings,
        })
    }

    /// Its keys, each with its values as they would have been typed, in the order of the keys.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.settings
            .iter()
            .map(|setting| (setting.key.as_str(), setting.values.as_slice()))
    }

    /// The command with the file's values as defaults: the environment and the command line win over them.
    pub(crate) fn beneath(&self, command: Command) -> Command {
        self.beneath_from(command, false)
    }

    fn beneath_from(&self, command: Command, is_inside: bool) -> Command {
        command
            .mut_args(|argument| {
                let name = setting_name(&argument, is_inside);
                match self
                    .settings
                    .iter()
                    .find(|setting| name == Some(&setting.key))
                {
                    Some(setting) => argument
                        .required(false)
                        .default_values(setting.values.clone()),
                    None => argument,
                }
            })
            .mut_subcommands(|subcommand| self.beneath_from(subcommand, true))
    }

    /// What to say of a value that the parse refused, if it stands in this file.
    pub(crate) fn blame(&self, error: &clap::Error) -> Option<anyhow::Error> {
        let (argument, value) = wrong_value(error)?;
        let setting = self.settings.iter().find(|setting| {
            setting.argument == argument && setting.values.iter().any(|own| own == value)
        })?;
        let reason = match (error.source(), error.get(ContextKind::ValidValue)) {
            (Some(source), _) => format!(": {source}"),
            (None, Some(ContextValue::Strings(values))) => {
                format!(": possible values are {}", values.join(", "))
            }
            _ => String::new(),
        };
        let (path, line, key) = (self.path.display(), setting.line, &setting.key);
        Some(anyhow!(
            "{path}:{line}: invalid value '{value}' for '{key}'{reason}"
        ))
    }
}

/// Every key with its values; or the line that is wrong, and what is wrong there.
fn settings(text: &str, command: &Command) -> Result<Vec<Setting>, (usize, anyhow::Error)> {
    let line_at = |offset: usize| {
        1 + text
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
    };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        (line_at(offset), anyhow!("{}", error.message()))
    })?;
    let mut settings = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_at(key.span().start);
        let name = key.get_ref().as_ref();
        let argument = find(command, &|argument, is_inside| {
            setting_name(argument, is_inside) == Some(name)
        })
        .filter(|_| name != "config")
        .ok_or_else(|| {
            (
                line,
                anyhow!("unknown key '{name}' (--help lists the options)"),
            )
        })?;
        settings.push(Setting {
            key: name.to_owned(),
            line,
            values: values(name, argument, value.get_ref()).map_err(|problem| (line, problem))?,
            argument: argument.to_string(),
        });
    }
    Ok(settings)
}

/// The values as they would have been typed.
fn values(key: &str, argument: &Arg, value: &DeValue<'_>) -> Result<Vec<String>> {
    let scalar = |value: &DeValue<'_>| {
        typed(value).ok_or_else(|| anyhow!("'{key}' wants a text or a number"))
    };
    let takes_several = argument
        .get_num_args()
        .is_some_and(|range| range.max_values() > 1)
        || matches!(argument.get_action(), ArgAction::Append);
    match (argument.get_action(), value) {
        (ArgAction::SetTrue | ArgAction::SetFalse, DeValue::Boolean(flag)) => {
            Ok(vec![flag.to_string()])
        }
        (ArgAction::SetTrue | ArgAction::SetFalse, _) => bail!("'{key}' wants true or false"),
        (ArgAction::Count, DeValue::Integer(_)) => Ok(vec![scalar(value)?]),
        (ArgAction::Count, _) => bail!("'{key}' wants a number"),
        (_, DeValue::Array(items)) if takes_several => {
            items.iter().map(|item| scalar(item.get_ref())).collect()
        }
        (_, DeValue::Array(_)) => bail!("'{key}' takes a single value"),
        _ => Ok(vec![scalar(value)?]),
    }
}

fn typed(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

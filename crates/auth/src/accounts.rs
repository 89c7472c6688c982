//! Accounts: who may log in, what they may do, and below which folder. Pure: text in, text out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use protocol::{RemotePath, Rights};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::password::PasswordHash;
use crate::toml_file::{self, Malformed};

/// Longest name of an account, bytes.
const MAX_NAME: usize = 64;

/// Longest home, bytes: it stands in every ticket.
pub(crate) const MAX_HOME: usize = 255;

/// What stands above the accounts.
const HEADING: &str = "\
# Accounts of mini-ftp, written by 'ftpmaster user'. A running server reads them again on SIGHUP.
# As long as this file is there, a login is needed, even where it names nobody.
";

/// An account's name: 1 to 64 of `a-z 0-9 . _ @ -`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

/// A text that is no account's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a name is 1 to {MAX_NAME} of a-z, 0-9, '.', '_', '@' and '-', the first a letter or digit"
)]
pub struct NameError;

/// The folder that an account sees as `/`: a path below the served root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Home(RemotePath);

/// A text that is no home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a home is a path like /pub/ada, from the served root on, without '.' and '..', at most {MAX_HOME} bytes"
)]
pub struct HomeError;

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What its owner must prove to know.
    pub password: PasswordHash,
    /// What it may do, below its home.
    #[serde(with = "words")]
    pub rights: Rights,
    /// What it sees as `/`.
    #[serde(default, skip_serializing_if = "Home::is_root")]
    pub home: Home,
    /// The most bytes that the files below its home may hold; `None` for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
}

/// All accounts, by name. What is not understood is an error: a rule that was mistyped must not be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    #[serde(default)]
    users: BTreeMap<UserName, Account>,
}

impl Accounts {
    /// The account of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&UserName, &Account)> {
        let name = name.parse().ok()?;
        self.users.get_key_value(&name)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: &UserName) -> Option<&mut Account> {
        self.users.get_mut(name)
    }

    /// Every account, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&UserName, &Account)> {
        self.users.iter()
    }

    /// Adds an account. False, and nothing is changed, where there is one of that name.
    pub fn add(&mut self, name: UserName, account: Account) -> bool {
        let is_new = !self.users.contains_key(&name);
        if is_new {
            self.users.insert(name, account);
        }
        is_new
    }

    /// Takes an account away; whether there was one.
    pub fn remove(&mut self, name: &UserName) -> bool {
        self.users.remove(name).is_some()
    }

    /// What the content of a file says.
    ///
    /// # Errors
    /// The first thing in it that is not understood.
    pub fn parse(content: &[u8]) -> Result<Self, Malformed> {
        toml_file::parse(content)
    }

    /// As a file holds them.
    ///
    /// # Errors
    /// TOML cannot say it: a quota of more than 63 bits.
    pub fn to_text(&self) -> Result<String, toml::ser::Error> {
        Ok(format!("{HEADING}\n{}", toml::to_string(self)?))
    }
}

/// Whose rights have become others, or are gone, from accounts and the rights of everybody, who needs no account, to those
/// after them: names, an empty one for everybody.
#[must_use]
pub fn whose_rights_changed(
    (old, everybody_before): (Option<&Accounts>, Option<Rights>),
    (new, everybody_now): (Option<&Accounts>, Option<Rights>),
) -> Vec<String> {
    let mut users = Vec::new();
    if everybody_before.is_some() && everybody_before != everybody_now {
        users.push(String::new());
    }
    for (name, account) in old.into_iter().flat_map(Accounts::iter) {
        let now = new.and_then(|new| new.get(name.as_str()));
        if now.is_none_or(|(_, now)| now != account) {
            users.push(name.to_string());
        }
    }
    users
}

impl UserName {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let may_follow = |byte| is_plain(byte) || b"._@-".contains(&byte);
        let is_name = text.len() <= MAX_NAME
            && text.bytes().next().is_some_and(is_plain)
            && text.bytes().all(may_follow);
        is_name.then(|| Self(text.to_owned())).ok_or(NameError)
    }
}

impl TryFrom<String> for UserName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl Home {
    /// The path below the served root.
    #[must_use]
    pub const fn path(&self) -> &RemotePath {
        &self.0
    }

    fn is_root(&self) -> bool {
        self.0.is_root()
    }
}

impl Default for Home {
    fn default() -> Self {
        Self(RemotePath::root())
    }
}

impl FromStr for Home {
    type Err = HomeError;

    fn from_str(text: &str) -> Result<Self, HomeError> {
        // A closing slash is how people write folders.
        let path = match text.strip_suffix('/') {
            Some(shorter) if !shorter.is_empty() && !shorter.ends_with('/') => shorter,
            _ => text,
        };
        let path = RemotePath::parse(path.as_bytes()).map_err(|_| HomeError)?;
        Some(Self(path))
            .filter(|_| text.len() <= MAX_HOME)
            .ok_or(HomeError)
    }
}

impl TryFrom<String> for Home {
    type Error = HomeError;

    fn try_from(text: String) -> Result<Self, HomeError> {
        text.parse()
    }
}

impl From<Home> for String {
    fn from(home: Home) -> Self {
        Self::from_utf8_lossy(home.0.as_bytes()).into_owned()
    }
}

impl fmt::Display for Home {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&String::from(self.clone()))
    }
}

/// Rights as a list of words.
mod words {
    use protocol::Rights;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Clone, Copy, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Right {
        Read,
        Write,
        Delete,
    }

    const ALL: [(Right, Rights); 3] = [
        (Right::Read, Rights::READ),
        (Right::Write, Rights::WRITE),
        (Right::Delete, Rights::DELETE),
    ];

    pub(super) fn serialize<S: Serializer>(rights: &Rights, to: S) -> Result<S::Ok, S::Error> {
        let held = ALL.iter().filter(|(_, right)| rights.contains(*right));
        held.map(|(word, _)| *word)
            .collect::<Vec<_>>()
            .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Rights, D::Error> {
        let right = |word| match word {
            Right::Read => Rights::READ,
            Right::Write => Rights::WRITE,
            Right::Delete => Rights::DELETE,
        };
        let words = Vec::<Right>::deserialize(from)?;
        Ok(words
            .into_iter()
            .fold(Rights::NONE, |rights, word| rights.with(right(word))))
    }
}

#[cfg(test)]
mod tests;

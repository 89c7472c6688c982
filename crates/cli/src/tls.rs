//! The options that decide about TLS.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

/// When TLS is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TlsUse {
    /// With everybody
    Always,
    /// With everybody on other machines
    #[default]
    Auto,
    /// With nobody
    Never,
}

/// A server's options, to be flattened into its arguments.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerTls {
    /// Who must speak TLS: everybody, everybody on other machines, nobody
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "TLS"
    )]
    pub tls: TlsUse,

    /// Certificate to show, in PEM, with those that lead to its authority; read again on SIGHUP [default: one is made, and
    /// kept in --state]
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub key: Option<PathBuf>,
}

impl ServerTls {
    /// The files of the operator's own certificate and its key, where there is one.
    ///
    /// # Errors
    /// One of the two is missing.
    pub fn files(&self) -> Result<Option<(&Path, &Path)>> {
        match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (Some(_), None) => bail!("--cert goes with --key: name the file of its private key"),
            (None, Some(_)) => bail!("--key goes with --cert: name the file of its certificate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Demo {
        #[command(flatten)]
        tls: ServerTls,
    }

    #[test]
    fn a_certificate_and_its_key_are_named_together() {
        for (words, allowed) in [
            (vec![], true),
            (vec!["--cert", "c", "--key", "k"], true),
            (vec!["--cert", "c"], false),
            (vec!["--key", "k"], false),
        ] {
            let demo = Demo::try_parse_from(["demo"].into_iter().chain(words.clone())).unwrap();
            assert_eq!(demo.tls.files().is_ok(), allowed, "{words:?}");
        }
    }
}

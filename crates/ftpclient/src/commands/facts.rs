//! What is known: of a name, of a content, of the storage, of the slaves.

use client::Client;
use protocol::RemotePath;

use crate::commands::each::each;
use crate::failure::{Failure, Several, cannot};
use crate::invocation::Invocation;
use crate::json::{EntryRecord, SlaveRecord, SpaceRecord, SumRecord, type_word};
use crate::listed;
use crate::names;
use crate::session::Session;

/// `stat`
pub(crate) fn stat(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let Some(word) = invocation.word(0) else {
        return Err(invocation.usage("a name is missing"));
    };
    let (path, entry) = names::stat(session, word, "stat")?;
    let output = &mut session.output;
    if output.is_json() {
        return output.record(&EntryRecord::facts(&path, &entry));
    }
    output.name("name:     ", path.as_bytes())?;
    output.line(&format_args!("type:     {}", type_word(entry.kind)))?;
    output.line(&format_args!("size:     {}", entry.size))?;
    let modified = listed::time(entry.modified_ns);
    output.line(&format_args!("modified: {modified}"))?;
    output.line(&format_args!("mode:     {:04o}", entry.mode))?;
    match entry.digest {
        Some(digest) => output.line(&format_args!("blake3:   {digest}")),
        None => Ok(()),
    }
}

/// `sum`: lines that `b3sum --check` reads.
pub(crate) fn sum(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let ask = Client::checksum_each;
    let names = names::remote_each(session, &invocation.words, "sum");
    each(
        session,
        names,
        ("sum", None),
        ask,
        |output, name, sum| match output.is_json() {
            true => output.record(&SumRecord::new(&name.path, &sum)),
            false => output.sum(&sum.digest, &name.shown),
        },
    )
}

/// `cat`
pub(crate) fn cat(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    if session.output.is_json() {
        return Err(invocation.usage("a content is no JSON: leave --json away, or use get"));
    }
    let mut several = Several::default();
    for name in names::remote_each(session, &invocation.words, "cat") {
        if let Err(failure) = name.and_then(|name| write_out(session, &name.path)) {
            session.output.failure(&failure);
            several.note(&failure)?;
        }
    }
    several.finish()
}

fn write_out(session: &mut Session, path: &RemotePath) -> Result<(), Failure> {
    let Session {
        connection, output, ..
    } = session;
    let client = connection.open()?;
    let (written, taken) = output.content(|stdout| client.cat(path, stdout));
    output.clear_bar();
    taken?;
    written
        .map(|_| ())
        .map_err(Failure::of(cannot("cat", path.as_bytes())))
}

/// `df`
pub(crate) fn disk_free(session: &mut Session, _: &Invocation) -> Result<(), Failure> {
    let space = session
        .client()?
        .disk_free()
        .map_err(Failure::of("cannot ask for the free space".to_owned()))?;
    if session.output.is_json() {
        return session.output.record(&SpaceRecord::new(&space));
    }
    let (total, available) = (
        cli::human_size(space.total),
        cli::human_size(space.available),
    );
    session
        .output
        .line(&format_args!("total {total}, available {available}"))
}

/// `slaves`
pub(crate) fn slaves(session: &mut Session, _: &Invocation) -> Result<(), Failure> {
    let slaves = session.connection.slaves()?;
    let output = &mut session.output;
    if output.is_json() {
        return slaves
            .iter()
            .try_for_each(|slave| output.record(&SlaveRecord::new(slave)));
    }
    output.line(&format_args!(
        "{:<24} {:<8} {:>8} {:>8}",
        "ADDRESS", "STATE", "SESSIONS", "LOAD"
    ))?;
    for slave in &slaves {
        let sessions = u64::from(slave.sessions);
        let load = match (sessions * 100).checked_div(u64::from(slave.places)) {
            Some(percent) => format!("{percent} %"),
            None => "-".to_owned(),
        };
        let address = cli::text(slave.addresses.first().map_or("", String::as_str)).to_string();
        let state = slave.status.word();
        output.line(&format_args!(
            "{address:<24} {state:<8} {sessions:>8} {load:>8}"
        ))?;
    }
    Ok(())
}

//! `mirror`: which trees, by which rules, and what is told of each change.

use std::path::PathBuf;

use client::{Change, Comparison, Mirror, MirrorItem, MirrorRules, MirrorSummary, Outcome, Side};
use protocol::{EntryKind, ErrorCode, RemotePath};

use crate::commands::put::own_name;
use crate::direction::Direction;
use crate::failure::{Failure, Several, cannot};
use crate::filter::{Fate, Filter};
use crate::human;
use crate::invocation::Invocation;
use crate::json::TransferRecord;
use crate::json_mirror::{ChangeRecord, MirrorRecord};
use crate::names;
use crate::output::Output;
use crate::session::{Session, remote_seen_from, seen_from};

/// What `help mirror` says beyond one line.
pub(crate) const DETAILS: &str = "FROM is a folder of the server, TO a local one; without TO: FROM's own name, here\n\
    -R  the other way round: FROM is local, TO on the server\n\
    -u  leave files alone that are newer in TO\n\
    --delete  remove from TO what FROM does not have, when all else has succeeded\n\
    --dry-run  only show what would be done\n\
    --checksum  compare contents, not sizes and times\n\
    --include GLOB  --exclude GLOB  which paths take part, on both sides: the first that matches decides, else the path\n\
    does; NAME matches at any depth, /PATH from the top, NAME/ folders only, ** any depth; below an excluded folder\n\
    nothing takes part. Only the text files: --include '*/' --include '*.txt' --exclude '*'\n\
    Files are the same if size and time are; where only the time differs, contents are compared and the time is set.\n\
    Links and special files are skipped, and so are partial downloads (.NAME.part), which are never removed either";

/// Makes one tree equal to another.
pub(crate) fn mirror(session: &mut Session, invocation: &Invocation) -> Result<(), Failure> {
    let mut filter = Filter::default();
    for (name, glob) in invocation.long_options() {
        let fate = match name {
            "include" => Fate::Include,
            "exclude" => Fate::Exclude,
            _ => continue,
        };
        filter
            .add(fate, glob)
            .map_err(|error| Failure::Usage(format!("mirror: {error}")))?;
    }
    let target = match invocation.has(b'R') {
        true => Side::Remote,
        false => Side::Local,
    };
    let (remote, local) = roots(session, invocation, target)?;
    let request = Mirror {
        remote,
        local,
        target,
        rules: MirrorRules {
            comparison: match invocation.has_long("checksum") {
                true => Comparison::Content,
                false => Comparison::SizeAndTime,
            },
            delete: invocation.has_long("delete"),
            update: invocation.has(b'u'),
            dry_run: invocation.has_long("dry-run"),
            includes: &|path, kind| filter.includes(path, kind),
        },
    };
    run(session, &request)
}

/// The two folders, remote and local.
fn roots(
    session: &mut Session,
    invocation: &Invocation,
    target: Side,
) -> Result<(RemotePath, PathBuf), Failure> {
    let [from, to] = [0, 1].map(|index| invocation.word(index));
    let from = from.ok_or_else(|| invocation.usage("a name is missing"))?;
    match target {
        Side::Local => {
            let remote = names::one_remote(session, from, "mirror")?;
            let local = match (to, remote.name()) {
                (Some(to), _) => session.local_path(to.literal()),
                (None, Some(name)) => session.local_path(name),
                // The root has no name: what is in it is mirrored to the folder itself.
                (None, None) => session.local.clone(),
            };
            let is_here = local.as_os_str().is_empty();
            Ok((remote, if is_here { PathBuf::from(".") } else { local }))
        }
        Side::Remote => {
            let local = names::one_local(&session.local, from, "mirror")?;
            let tried = || cannot("mirror", from.literal());
            let remote = match to {
                Some(to) => names::one_remote(session, to, "mirror to")?,
                None => match own_name(&local).map_err(Failure::of(tried()))? {
                    Some(name) => session
                        .folder
                        .join(name.as_encoded_bytes())
                        .map_err(Failure::of(tried()))?,
                    None => session.folder.clone(),
                },
            };
            Ok((remote, local))
        }
    }
}

fn run(session: &mut Session, request: &Mirror<'_>) -> Result<(), Failure> {
    let mut teller = Teller {
        request,
        folder: session.folder.clone(),
        local: session.local.clone(),
        several: Several::default(),
        broken: None,
    };
    let Session {
        connection, output, ..
    } = session;
    let client = connection.open()?;
    let mirrored = client.mirror(request, &mut |item| {
        if let Err(failure @ Failure::Output(_)) = teller.tell(output, &item) {
            teller.broken.get_or_insert(failure);
        }
    });
    output.clear_bar();
    if let Some(failure) = teller.broken {
        return teller.several.finish_after(Err(failure));
    }
    let tried = match request.target {
        Side::Local => cannot("mirror", request.remote.as_bytes()),
        Side::Remote => cannot("mirror", request.local.as_os_str().as_encoded_bytes()),
    };
    let summary = mirrored.map_err(Failure::of(tried))?;
    tell_all(output, &summary, request.rules.dry_run)?;
    teller.several.finish()
}

fn tell_all(output: &mut Output, summary: &MirrorSummary, dry_run: bool) -> Result<(), Failure> {
    output.change(
        &MirrorRecord::new(summary, dry_run),
        &human::mirrored(summary, dry_run),
    )
}

/// Tells each change as it ends.
struct Teller<'r> {
    request: &'r Mirror<'r>,
    folder: RemotePath,
    local: PathBuf,
    several: Several,
    /// What stdout said.
    broken: Option<Failure>,
}

impl Teller<'_> {
    fn tell(&mut self, output: &mut Output, item: &MirrorItem) -> Result<(), Failure> {
        let direction = match self.request.target {
            Side::Local => Direction::Get,
            Side::Remote => Direction::Put,
        };
        let name = self.name(item);
        match &item.result {
            Ok(Outcome::Moved(moved)) => output.change(
                &TransferRecord::mirrored(direction, moved),
                &human::statistics(direction, name, moved),
            ),
            Ok(Outcome::Done) => {
                let record = ChangeRecord::new(direction, item, "done");
                let line = format!("{}: {}", cli::name(name), done(item.change));
                output.change(&record, &line)
            }
            Ok(Outcome::Planned) => {
                let record = ChangeRecord::new(direction, item, "planned");
                if output.is_json() {
                    return output.record(&record);
                }
                let line = planned(direction, item.change, &cli::name(name).to_string());
                output.line(&line)
            }
            Err(error) => {
                let tried = tried(direction, item);
                let failure = match error.kind() {
                    client::ClientErrorKind::Remote(ErrorCode::Exists)
                        if !self.request.rules.delete =>
                    {
                        let why = format!("{error} (--delete replaces it)");
                        Failure::refused(tried, ErrorCode::Exists, &why)
                    }
                    _ => Failure::of(tried)(error.clone()),
                };
                output.clear_bar();
                output.failure(&failure);
                if output.is_json() {
                    let record = ChangeRecord::new(direction, item, "failed");
                    output.change(&record.with_failure(&failure), "")?;
                }
                self.several.note(&failure)
            }
        }
    }

    /// What a person calls it here: a content by where it comes from, all else by what is changed.
    fn name<'i>(&self, item: &'i MirrorItem) -> &'i [u8] {
        let is_moved = matches!(item.change, Change::Move(_));
        match self.request.target {
            Side::Local if is_moved => remote_seen_from(&self.folder, &item.remote),
            Side::Local => seen_from(&self.local, &item.local),
            Side::Remote if is_moved => seen_from(&self.local, &item.local),
            Side::Remote => remote_seen_from(&self.folder, &item.remote),
        }
    }
}

const fn done(change: Change) -> &'static str {
    match change {
        Change::Make => "made",
        Change::Move(_) => "moved",
        Change::SetTime => "time set",
        Change::Remove(_) => "removed",
    }
}

fn planned(direction: Direction, change: Change, name: &str) -> String {
    match change {
        Change::Make => format!("would make {name}/"),
        Change::Move(bytes) => {
            let size = cli::human_size(bytes);
            format!("would {} {name} ({size})", direction.word())
        }
        Change::SetTime => format!("would set the time of {name}"),
        Change::Remove(EntryKind::Directory) => format!("would remove {name}/"),
        Change::Remove(_) => format!("would remove {name}"),
    }
}

/// What a failure begins with.
fn tried(direction: Direction, item: &MirrorItem) -> String {
    let (remote, local) = (item.remote.as_bytes(), item.local.as_os_str());
    let (source, target) = match direction {
        Direction::Get => (remote, local.as_encoded_bytes()),
        Direction::Put => (local.as_encoded_bytes(), remote),
    };
    match item.change {
        Change::Move(_) => cannot(direction.word(), source),
        Change::Make => cannot("make", target),
        Change::SetTime => cannot("set the time of", target),
        Change::Remove(_) => cannot("remove", target),
    }
}

//! Which posts there are, which edition of the program holds them, and when an empty one is filled again.
//!
//! A reload is tried on one worker first. Only when that one is ready does the new edition become the current one;
//! then post after post is taken over: start the new, wait until it is ready, drain the old. An edition that cannot
//! start therefore changes nothing.

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, Life};
use crate::crew::Crew;
use crate::exit::{SupervisorError, WorkerExit, doing};
use crate::launch::Launch;
use crate::member::{Departed, Member, Phase, Post};

#[derive(Debug)]
struct Edition {
    generation: u64,
    launch: Launch,
}

#[derive(Debug)]
struct Vacancy {
    post: Post,
    backoff: Backoff,
    /// Not to be filled before.
    due: Instant,
}

#[derive(Debug)]
pub(crate) struct Roster {
    current: Edition,
    trial: Option<Edition>,
    vacancies: Vec<Vacancy>,
    latest_generation: u64,
    /// A worker of the current edition has once been ready: the edition works, failures are accidents.
    proven: bool,
}

impl Roster {
    pub(crate) fn new(launch: Launch) -> Self {
        let vacancies = vacancies(&launch);
        let current = Edition {
            generation: 1,
            launch,
        };
        Self {
            current,
            trial: None,
            vacancies,
            latest_generation: 1,
            proven: false,
        }
    }

    /// Which edition is the current one.
    pub(crate) const fn generation(&self) -> u64 {
        self.current.generation
    }

    /// How long its sessions, and those of editions before it, may go on in the end.
    pub(crate) const fn grace(&self) -> Duration {
        self.current.launch.grace
    }

    pub(crate) const fn is_proven(&self) -> bool {
        self.proven
    }

    pub(crate) const fn worker_became_ready(&mut self) {
        self.proven = true;
    }

    /// Every worker's post is held by a ready child of the current edition, and nobody of an older one accepts.
    pub(crate) fn is_complete(&self, crew: &Crew) -> bool {
        let ready = |post| {
            crew.holder(post, self.current.generation)
                .is_some_and(|member| member.phase == Phase::Ready)
        };
        let mut workers = self
            .vacancies
            .iter()
            .map(|vacancy| vacancy.post)
            .filter(|post| *post != Post::Helper);
        let outdated = |member: &Member| member.post != Post::Helper && self.is_outdated(member);
        self.trial.is_none() && workers.all(ready) && !crew.members().iter().any(outdated)
    }

    /// Tries a new edition on one worker, beside the others.
    pub(crate) fn propose(&mut self, launch: Launch, crew: &mut Crew) {
        if let Some(previous) = self.trial.take() {
            crew.drain(|member| member.generation == previous.generation);
        }
        self.latest_generation += 1;
        let generation = self.latest_generation;
        match crew.start(&launch, FIRST, generation) {
            Ok(()) => self.trial = Some(Edition { generation, launch }),
            Err(error) => tracing::error!(%error, "cannot reload: the old configuration stays"),
        }
    }

    /// Takes note of a death. An error if it means that there will never be a pool.
    pub(crate) fn departed(&mut self, gone: &Departed) -> Result<(), SupervisorError> {
        let (pid, status) = (gone.pid, gone.status);
        if self
            .trial
            .as_ref()
            .is_some_and(|trial| trial.generation == gone.generation)
        {
            self.trial = None;
            tracing::error!(pid, %status, "cannot reload, the new worker does not start: the old configuration stays");
            return Ok(());
        }
        if gone.phase == Phase::Draining {
            tracing::debug!(pid, %status, "{} has drained", gone.post);
            return Ok(());
        }
        let boot_failed = WorkerExit::read(status) == Some(WorkerExit::BootFailed);
        if boot_failed && !self.proven && gone.post != Post::Helper {
            return Err(SupervisorError::BootFailed);
        }
        let pause = self.postpone(gone.post, gone.life);
        tracing::warn!(pid, %status, lived = ?gone.life.length, "{} ended: replaced in {pause:?}", gone.post);
        Ok(())
    }

    /// Moves towards what ought to be, as far as is possible now.
    pub(crate) fn tend(&mut self, crew: &mut Crew) -> Result<(), SupervisorError> {
        self.decide_trial(crew);
        let posts: Vec<(Post, Instant)> = self
            .vacancies
            .iter()
            .map(|vacancy| (vacancy.post, vacancy.due))
            .collect();
        for (post, due) in posts {
            match crew
                .holder(post, self.current.generation)
                .map(|member| member.phase)
            {
                Some(Phase::Ready) => {
                    crew.drain(|member| member.post == post && self.is_outdated(member));
                }
                Some(_) => {}
                None if due <= Instant::now() && self.has_turn(post, crew) => {
                    self.fill(post, crew)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// When the next empty post is due, from now.
    pub(crate) fn next_due(&self, crew: &Crew) -> Option<Duration> {
        let empty = self
            .vacancies
            .iter()
            .filter(|vacancy| crew.holder(vacancy.post, self.current.generation).is_none());
        let due = empty
            .filter(|vacancy| self.has_turn(vacancy.post, crew))
            .map(|vacancy| vacancy.due)
            .min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn decide_trial(&mut self, crew: &mut Crew) {
        let ready = |trial: &mut Edition| {
            crew.holder(FIRST, trial.generation)
                .is_some_and(|member| member.phase == Phase::Ready)
        };
        if let Some(proven) = self.trial.take_if(ready) {
            self.vacancies = vacancies(&proven.launch);
            self.current = proven;
            let posts: Vec<Post> = self.vacancies.iter().map(|vacancy| vacancy.post).collect();
            crew.drain(|member| !posts.contains(&member.post));
        }
    }

    /// Whether a child may start at an empty post now. While an old one still serves there, it is one at a time; until
    /// anything has worked there is but one, so that a bad configuration is complained about once, not by each worker.
    fn has_turn(&self, post: Post, crew: &Crew) -> bool {
        let starting = crew.members().iter().any(|member| {
            member.generation == self.current.generation && member.phase == Phase::Starting
        });
        let served = crew
            .members()
            .iter()
            .any(|member| member.post == post && self.is_outdated(member));
        if self.proven {
            !(served && starting)
        } else {
            post == FIRST
        }
    }

    fn fill(&mut self, post: Post, crew: &mut Crew) -> Result<(), SupervisorError> {
        let Err(error) = crew.start(&self.current.launch, post, self.current.generation) else {
            return Ok(());
        };
        if !self.proven {
            return Err(doing("start a worker")(error));
        }
        let pause = self.postpone(
            post,
            Life {
                length: Duration::ZERO,
                killed: false,
            },
        );
        tracing::error!(%error, "cannot start {post}: tried again in {pause:?}");
        Ok(())
    }

    fn postpone(&mut self, post: Post, life: Life) -> Duration {
        let Some(vacancy) = self
            .vacancies
            .iter_mut()
            .find(|vacancy| vacancy.post == post)
        else {
            return Duration::ZERO;
        };
        let pause = vacancy.backoff.pause_after(life);
        vacancy.due = Instant::now() + pause;
        pause
    }

    fn is_outdated(&self, member: &Member) -> bool {
        member.generation < self.current.generation && member.phase != Phase::Draining
    }
}

/// The post on which an edition is tried.
const FIRST: Post = Post::Worker(0);

fn vacancies(launch: &Launch) -> Vec<Vacancy> {
    let due = Instant::now();
    let helper = launch.helper.as_ref().map(|_| Post::Helper);
    let posts = (0..launch.workers.get()).map(Post::Worker).chain(helper);
    posts
        .map(|post| Vacancy {
            post,
            backoff: Backoff::default(),
            due,
        })
        .collect()
}

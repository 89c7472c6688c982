//! Threads that outlive their task: making a thread costs more than a short session does.
//!
//! A task begins at once, on a thread that rests or on a new one; none waits for another to end. So whoever bounds the
//! tasks bounds the threads, and only how many rest is bounded here. When a crowd has gone, its memory is the machine's again.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SendError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, ThreadId};
use std::time::Duration;

/// A thread that is given nothing to do for so long ends.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Threads that are kept for later; those that finish beyond that end. What their stacks hold stays small.
const MOST_RESTING: usize = 64;

/// So many threads that end leave memory behind that is worth giving back, even where others go on.
const CROWD: usize = 16;

type Task = Box<dyn FnOnce() + Send>;

/// Runs each task on a thread of its own, which may have run another before.
#[derive(Debug)]
pub struct ThreadPool {
    name: &'static str,
    stack: usize,
    resting: Arc<Resting>,
}

#[derive(Default)]
struct Resting {
    /// How each thread that rests is given a task. The last to come is the first to go: its stack is still in the cache.
    threads: Mutex<Vec<(ThreadId, SyncSender<Task>)>>,
    /// Threads that ended since memory was given back.
    ended: AtomicUsize,
}

impl ThreadPool {
    /// A pool without a thread yet. Each will have this name and so many bytes of stack. From now on the process's allocator
    /// keeps little of what is freed.
    #[must_use]
    pub fn new(name: &'static str, stack: usize) -> Self {
        sys::allocator::keep_little();
        Self {
            name,
            stack,
            resting: Arc::default(),
        }
    }

    /// Begins a task. A panic in it ends its thread and nothing else.
    ///
    /// # Errors
    /// Nobody rests and no thread can be had; the task is dropped.
    pub fn run(&self, task: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut task: Task = Box::new(task);
        while let Some((_, give)) = self.resting.pop() {
            match give.send(task) {
                Ok(()) => return Ok(()),
                Err(SendError(refused)) => task = refused, // that thread has just ended
            }
        }
        let resting = Arc::clone(&self.resting);
        Builder::new()
            .name(self.name.to_owned())
            .stack_size(self.stack)
            .spawn(move || {
                let mut next = Some(task);
                while let Some(task) = next {
                    task();
                    next = resting.rest();
                }
            })
            .map(drop)
    }
}

impl Resting {
    /// Waits on this thread for its next task; `None`: it is not needed any more.
    fn rest(&self) -> Option<Task> {
        let (give, given) = sync_channel(1);
        let this = thread::current().id();
        {
            let mut threads = self.threads();
            if threads.len() >= MOST_RESTING {
                self.ended.fetch_add(1, Relaxed);
                return None;
            }
            threads.push((this, give));
        }
        if let Ok(task) = given.recv_timeout(LONGEST_REST) {
            return Some(task);
        }
        let is_last = {
            let mut threads = self.threads();
            threads.retain(|(thread, _)| *thread != this);
            threads.is_empty()
        };
        // Somebody may have found this thread in the list just before.
        let task = given.recv().ok();
        if task.is_none() && (self.ended.fetch_add(1, Relaxed) >= CROWD || is_last) {
            self.ended.store(0, Relaxed);
            sys::allocator::give_back();
        }
        task
    }

    fn pop(&self) -> Option<(ThreadId, SyncSender<Task>)> {
        self.threads().pop()
    }

    fn threads(&self) -> MutexGuard<'_, Vec<(ThreadId, SyncSender<Task>)>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Resting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Resting({})", self.threads().len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use super::*;

    const STACK: usize = 128 * 1024;

    fn until_resting(pool: &ThreadPool, count: usize) {
        let end = Instant::now() + Duration::from_secs(30);
        while pool.resting.threads().len() != count {
            assert!(Instant::now() < end, "{pool:?}");
            thread::yield_now();
        }
    }

    #[test]
    fn one_thread_runs_one_task_after_another() {
        let pool = ThreadPool::new("test", STACK);
        let (tell, told) = channel();
        for _ in 0..100 {
            let tell = tell.clone();
            pool.run(move || tell.send(thread::current().id()).unwrap())
                .unwrap();
            until_resting(&pool, 1);
        }
        drop(tell);
        assert_eq!(told.iter().collect::<HashSet<_>>().len(), 1);
    }

    #[test]
    fn no_task_waits_for_another_and_few_threads_are_kept() {
        let pool = ThreadPool::new("test", STACK);
        let all = Arc::new(Barrier::new(MOST_RESTING + 20));
        for _ in 0..MOST_RESTING + 20 {
            let all = Arc::clone(&all);
            // Returns only when every task has begun.
            pool.run(move || {
                all.wait();
            })
            .unwrap();
        }
        until_resting(&pool, MOST_RESTING);
    }

    #[test]
    fn a_panic_ends_its_thread_and_nothing_else() {
        let pool = ThreadPool::new("test", STACK);
        let (tell, told) = channel::<()>();
        pool.run(move || {
            let _dropped_on_the_way_out = tell;
            panic!("the task breaks");
        })
        .unwrap();
        assert!(told.recv().is_err());
        let (tell, told) = channel();
        pool.run(move || tell.send(()).unwrap()).unwrap();
        told.recv().unwrap();
    }
}

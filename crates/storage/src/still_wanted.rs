//! Whether the one who asked for an upload still waits for it: asked at the last moment before its name appears.

use std::fmt;
use std::sync::Arc;

/// A question that an upload carries along. A process that was stopped in the midst of publishing would otherwise, when it
/// goes on, replace what its client has had stored by another one meanwhile.
#[derive(Clone, Default)]
pub struct StillWanted(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl StillWanted {
    /// The upload is wanted for as long as `answer` says so; by default it always is.
    #[must_use]
    pub fn new(answer: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(answer)))
    }

    pub(crate) fn ask(&self) -> bool {
        self.0.as_ref().is_none_or(|answer| answer())
    }
}

impl fmt::Debug for StillWanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() {
            "StillWanted(asked)"
        } else {
            "StillWanted(always)"
        })
    }
}

//! What is asked of a name before anything is done with it.

/// The question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// What it is.
    AtName,
    /// What it is, or what a link leads to.
    Through,
    /// The same; without a name, of the current folder.
    ThroughOrHere,
    /// What it is, or what a link leads to, and a small file's content with it: it is about to be downloaded.
    ToGet,
}

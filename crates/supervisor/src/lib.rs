//! The pre-forked process pool; knows nothing of file transfer.
#![forbid(unsafe_code)]

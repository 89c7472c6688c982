//! What this crate writes on disk to go on with a transfer later, as bytes: decoders and encoders that touch no disk.

pub use crate::known_digest::RecordedDigest;
pub use crate::state_folder::Record;
pub use crate::trailer::Trailer;
pub use crate::upload_record::RecordedUpload;

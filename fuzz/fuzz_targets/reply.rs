//! What a client does with everything a slave may send: greeting, preface, frames, replies, content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mini_ftp_fuzz::{check, connection, read_all, within_memory};
use protocol::limits::MAX_GREETING;
use protocol::{Reply, ServerPreface};

fuzz_target!(|input: &[u8]| within_memory(|| {
    let Some((is_raw, mut connection)) = connection(input) else {
        return;
    };
    if is_raw {
        let mut preface = [0; ServerPreface::LENGTH];
        if connection.read_line(MAX_GREETING).is_err()
            || connection.read_exact(&mut preface).is_err()
        {
            return;
        }
        ServerPreface::decode(&preface).ok();
    }
    read_all(&mut connection, check::<Reply>).ok();
}));

//! What masters, and those who ask them, do with everything the other may send.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mini_ftp_fuzz::{check, connection, read_all, within_memory};
use protocol::{MasterReply, MasterRequest};

fuzz_target!(|input: &[u8]| within_memory(|| {
    let Some((_, mut connection)) = connection(input) else {
        return;
    };
    let decode = |connection: &_, header: &_| {
        check::<MasterRequest>(connection, header);
        check::<MasterReply>(connection, header);
    };
    read_all(&mut connection, decode).ok();
}));

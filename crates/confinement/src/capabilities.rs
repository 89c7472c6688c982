//! The superuser's rights, taken apart: a process that stays root keeps those over files.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// What serving files as root takes: permission bits do not bind, and modes and times of others' files can be set. No
/// devices, no mounts, no other processes, no network configuration, no limits.
pub(crate) const OVER_FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER);

/// Gives up every capability but those over files that this process has, for good and for its children.
pub(crate) fn keep_those_over_files() -> rustix::io::Result<()> {
    bound_to(OVER_FILES)?;
    match clear_ambient_capability_set() {
        // Linux before 4.3 has none.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    let kept = capabilities(None)?.permitted.intersection(OVER_FILES);
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// What no exec may ever give back. Only a process that may change this has anything to give up here.
pub(crate) fn bound_to(kept: CapabilitySet) -> rustix::io::Result<()> {
    if !capabilities(None)?
        .effective
        .contains(CapabilitySet::SETPCAP)
    {
        return Ok(());
    }
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // Behind the last that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether this process has none at all.
pub(crate) fn are_gone() -> rustix::io::Result<bool> {
    let CapabilitySets {
        effective,
        permitted,
        inheritable,
    } = capabilities(None)?;
    Ok((effective | permitted | inheritable).is_empty())
}

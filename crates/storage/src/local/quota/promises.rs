//! What is promised to uploads, and what becomes of that when they are gone or nobody goes on with them.

use std::sync::Arc;

use protocol::UploadId;

use super::ledger::{Ledger, Reservation};
use crate::error::Context;
use crate::local::abandoned::Whereabouts;
use crate::local::confined::Root;
use crate::local::staging::Place;

/// Drops uploads that nobody goes on with, one after another, until it is enough.
pub(super) fn drop_abandoned(
    root: &Root,
    ledger: &mut Ledger,
    abandoned: Vec<Reservation>,
    enough: impl Fn(&Ledger) -> bool,
) {
    for reservation in abandoned {
        if enough(ledger) {
            return;
        }
        let place = place_of(root, &reservation);
        if place.is_none_or(|place| place.abandon(&reservation.upload)) {
            tracing::info!(upload = %reservation.upload, "an interrupted upload gives way to another");
            ledger.release(&reservation.upload);
        }
    }
}

/// The promises to uploads that nobody goes on with: those that are gone, then the oldest first.
pub(super) fn abandoned(root: &Root, ledger: &Ledger, own: &[UploadId]) -> Vec<Reservation> {
    let others = ledger
        .reservations
        .iter()
        .filter(|reservation| !own.contains(&reservation.upload));
    let mut abandoned: Vec<(bool, &Reservation)> = others
        .filter_map(|reservation| match whereabouts(root, reservation) {
            Whereabouts::Gone => Some((false, reservation)),
            Whereabouts::Abandoned => Some((true, reservation)),
            Whereabouts::Live => None,
        })
        .collect();
    abandoned.sort_by_key(|(is_there, reservation)| (*is_there, reservation.since));
    abandoned
        .into_iter()
        .map(|(_, reservation)| reservation.clone())
        .collect()
}

fn whereabouts(root: &Root, reservation: &Reservation) -> Whereabouts {
    match place_of(root, reservation) {
        Some(place) => place.whereabouts(&reservation.upload),
        None => Whereabouts::Gone,
    }
}

fn place_of(root: &Root, reservation: &Reservation) -> Option<Place> {
    match &reservation.beside {
        None => Some(Place {
            folder: Arc::clone(&root.staging.as_ref().ok()?.folder),
            beside_target: false,
        }),
        Some(path) => Some(Place {
            folder: Arc::new(root.open_folder(Context::new("look into", path)).ok()?),
            beside_target: true,
        }),
    }
}

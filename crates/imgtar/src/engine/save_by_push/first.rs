//! Of several images that are saved at once on one base, the first one brings the base, and the
//! others, which are pushed in no time then, wait for it.
//!
//! Deliberately absent: what is built on what. The layers tell.

use std::io;
use std::time::Duration;

use storekit::files::turn::Turn;
use storekit::{Digest, Store};

use crate::engine::Seen;
use crate::engine::save::Halt;
use crate::error::{Error, Result};

/// How long the first image is waited for.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The turn to bring the image's base. Another image is waited for where at least half of the
/// layers are the same. `None` for an image without layers.
///
/// # Errors
/// The save is asked to end.
pub(super) fn take(store: &Store, held: &Seen, halt: &dyn Halt) -> Result<Option<Turn>> {
    let Some(base) = held.layers().first() else { return Ok(None) };
    let path = store.root().join(format!(".save-{}", base.hex()));
    let note: Vec<_> = held.layers().iter().map(Digest::to_string).collect();
    let turn = Turn::take(&path, &note.join("\n"), PATIENCE, |other| {
        if halt.is_asked() {
            return Err(Error::read("-", io::ErrorKind::Interrupted.into()));
        }
        Ok(other.is_empty() || are_alike(held.layers(), other))
    });
    turn.map(Some)
}

/// Whether at least half of the layers, from the base upward, are those of the note.
fn are_alike(layers: &[Digest], note: &str) -> bool {
    let same = layers.iter().zip(note.lines()).take_while(|(layer, line)| layer.to_string() == *line);
    same.count() * 2 >= layers.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_on_one_base_are_alike() {
        let layer = |text: &str| Digest::of(text.as_bytes());
        let note =
            |layers: &[&str]| layers.iter().map(|it| layer(it).to_string()).collect::<Vec<_>>().join("\n");
        let layers = ["a", "b", "c", "d"].map(layer);
        assert!(are_alike(&layers, &note(&["a", "b", "c", "d"])));
        assert!(are_alike(&layers, &note(&["a", "b", "x"])));
        assert!(!are_alike(&layers, &note(&["a", "x", "c", "d"])));
        assert!(!are_alike(&layers, &note(&["a"])));
        assert!(!are_alike(&layers, "what anybody wrote\n\n"));
        assert!(!are_alike(&layers, ""));
    }
}

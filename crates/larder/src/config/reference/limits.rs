//! Lists of tables in `[gcctl]`.

use super::{Key, Kind, key};

/// `engine` of `[gcctl]`.
pub(crate) const ENGINE_LIMITS: Key =
    key("engine", Kind::Several(ENGINE_LIMIT), false, "what may go of engines' own stores");

pub(crate) const ENGINE_LIMIT: &[Key] = &[
    key(
        "engine",
        Kind::OneOf(&["docker", "podman"]),
        false,
        "of which engine; of each, where it is not said",
    ),
    key(
        "max-age",
        Kind::Text,
        false,
        "what was not used, or made, within this time may go: `12h`, `30d`; `7d`",
    ),
    key(
        "max-size",
        Kind::Size,
        false,
        "only the oldest go, until no more than this many bytes are left of what may go; `none` is no such limit, as where nothing is said",
    ),
    key("named", Kind::Flag, false, "whether images that have names and no container may go; `false`"),
    key(
        "keep",
        Kind::Texts,
        false,
        "patterns of names, `debian:*`: images and containers that stay. They add up, those of the user's own settings and of `--keep` too; of each other key the last table that has it counts, and the nearest file",
    ),
];

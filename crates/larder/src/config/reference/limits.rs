//! Lists of tables that gcctl reads.

use super::{Key, Kind, key};

/// `engine` of `[gcctl]`.
pub(crate) const ENGINE_LIMITS: Key =
    key("engine", Kind::Several(ENGINE_LIMIT), false, "what may go of engines' own stores");

pub(crate) const ENGINE_LIMIT: &[Key] = &[
    key(
        "engine",
        Kind::OneOf(toolkit::tables::ENGINES),
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

pub(crate) const EXTRA: &[Key] = &[
    key(
        "path",
        Kind::Text,
        false,
        "the folder, relative to this file, or below the home folder with `~/`. Not the root, and none with the home folder, this file or the store in it, or in the store. Of Hugging Face its cache: the hub, or the folder that has `hub` in it",
    ),
    key(
        "kind",
        Kind::OneOf(&["hf", "dir"]),
        false,
        "`hf`: the cache of `huggingface_hub`; whole revisions go, and blobs that no other revision needs. `dir`: each file goes by itself, and nothing behind links; folders stay. Outside the project, only the user's own settings name one",
    ),
    key(
        "max-size",
        Kind::Size,
        false,
        "over so many bytes on disk, what was unused for longest goes, but no revision that a branch or a tag names, or that shares all its blobs with what stays; what would be more than half of the folder waits for `--force`, and keeps nothing else; `none` is no limit, as where nothing is said",
    ),
    key(
        "max-age",
        Kind::Text,
        false,
        "what was not read or written within this time goes, as far as the file system notes reads (with `relatime`, one a day): `30d`. Of `hf` also a revision that branches or tags name, and these go first, so that none names what is not there; the use of a blob that several share counts for those with a branch or a tag, else for the last one; `none` is no limit, as where nothing is said",
    ),
];

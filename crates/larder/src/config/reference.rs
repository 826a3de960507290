//! All keys of larder.toml in words: the page for people, and the JSON Schema for editors.
//!
//! The tests hold it against what the file's reader takes.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// One key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    kind: Kind,
    /// Whether it decides about an image's or a disk's key.
    decides: bool,
    text: &'static str,
}

/// What a key's value is.
enum Kind {
    Text,
    Flag,
    /// A list of texts.
    Texts,
    /// A text, or a list of them.
    Words,
    /// Names with texts.
    Pairs,
    /// Names with texts, numbers or truth values.
    Values,
    /// Names with texts or lists of texts.
    Places,
    /// Names with lists of texts or numbers.
    Lists,
    /// `true`, or a list of texts.
    FlagOrTexts,
    /// One of these words.
    OneOf(&'static [&'static str]),
    Table(&'static [Key]),
    /// Names with tables.
    Named(&'static [Key]),
    /// A list of tables.
    Several(&'static [Key]),
    /// Another tool's, or the user's.
    Any,
}

const fn key(name: &'static str, kind: Kind, decides: bool, text: &'static str) -> Key {
    Key { name, kind, decides, text }
}

const PACKAGES: &str = "the package clients whose downloads come through pkgcache: `apt`, `cargo`, `npm`, `pip`. In no key, and nothing of it stays in an image";

const CACHE: &[Key] = &[
    key(
        "images",
        Kind::Flag,
        false,
        "whether images and disks are looked for in the store, and saved; `true`",
    ),
    key(
        "packages",
        Kind::Flag,
        false,
        "whether builds are led to the package cache, where `packages` says so; `true`",
    ),
];

const PACK: &[Key] = &[
    key("dir", Kind::Text, true, "the folder whose files become the image"),
    key("entrypoint", Kind::Words, true, "the command that the image runs"),
    key("env", Kind::Pairs, true, "variables that its processes see"),
    key("workdir", Kind::Text, true, "the folder that they start in"),
    key("labels", Kind::Pairs, true, "labels of the image"),
];

const SECRET: &[Key] = &[
    key("env", Kind::Text, false, "the environment variable that has it"),
    key("file", Kind::Text, false, "the file that has it, relative to larder.toml"),
];

const ENGINE_CACHE: &[Key] = &[
    key(
        "from",
        Kind::Texts,
        false,
        "images in registries whose layers the engine may take, as `--cache-from` has them",
    ),
    key(
        "to",
        Kind::Texts,
        false,
        "images in registries that a build writes its layers to, all stages', as `--cache-to` does. docker with buildx has it, where docker keeps images with containerd or BUILDX_BUILDER names a builder; else it is left out, with a warning",
    ),
];

pub(super) const IMAGE: &[Key] = &[
    key("description", Kind::Text, false, "what the image is, for `larder list`"),
    key(
        "extends",
        Kind::Words,
        false,
        "images of the file, or tables `[x-NAME]`, whose settings count where this one says nothing; all but `description`, `matrix`, `outputs` and `tags`",
    ),
    key(
        "matrix",
        Kind::Lists,
        true,
        "an image for each combination of values: NAME-VALUE. Each value is an arg, and stands for `{NAME}` in all texts of the table",
    ),
    key("context", Kind::Text, true, "the folder that the engine reads, relative to larder.toml; `.`"),
    key("dockerfile", Kind::Text, true, "relative to the context; `Dockerfile`"),
    key("target", Kind::Text, true, "the stage to build; the last"),
    key(
        "args",
        Kind::Values,
        true,
        "build arguments. `true` takes the environment variable of that name; `${VAR}`, `${VAR:-x}` and `${VAR-x}` stand for variables, `$${` for `${`",
    ),
    key("platform", Kind::Text, true, "such as `linux/arm64`; linux on this machine's architecture"),
    key(
        "platforms",
        Kind::Texts,
        true,
        "in the place of `platform`: an image for each, NAME@PLATFORM, with a key of its own. In the engine, the tags of all but this machine's own platform end in it, as in `app:1-linux-arm64`, unless they have `{platform}`. The store joins them in an index, NAME",
    ),
    key(
        "base",
        Kind::Pairs,
        true,
        "digests of images by the names that the Dockerfile has for them; they go before larder.lock",
    ),
    key(
        "contexts",
        Kind::Pairs,
        true,
        "named contexts: folders relative to larder.toml, `image:NAME` for an image of the file, or addresses, such as `docker-image://NAME:TAG`. podman has them, and docker with buildx",
    ),
    key("labels", Kind::Pairs, true, "labels of the image; variables as in `args`"),
    key(
        "secrets",
        Kind::Named(SECRET),
        false,
        "what the build may read with `RUN --mount=type=secret`. In no key, log or report; one that is missing is an error before anything runs",
    ),
    key(
        "ssh",
        Kind::FlagOrTexts,
        false,
        "whether the build may use the user's ssh agent, or which keys, as `--ssh` has them",
    ),
    key("network", Kind::Text, false, "the network of `RUN` instructions: `host`, `none`, `default`"),
    key("packages", Kind::Texts, false, PACKAGES),
    key("engine-cache", Kind::Table(ENGINE_CACHE), false, "registries that help a build along"),
    key(
        "needs",
        Kind::Texts,
        true,
        "images of the file that are baked first though the Dockerfile does not name them; their keys are in this one's. One whose outputs this build reads in its context comes first by itself",
    ),
    key("timeout", Kind::Text, false, "how long a build may take, such as `30m`"),
    key(
        "tags",
        Kind::Texts,
        false,
        "the names in the engine; `NAME:latest`. `{image}` stands for the image's name; variables as in `args`",
    ),
    key(
        "ignore",
        Kind::OneOf(&["docker", "all"]),
        true,
        "`all`: git's ignore rules count too, and the engine gets exactly the hashed files; `docker`",
    ),
    key("engine", Kind::OneOf(&["docker", "podman"]), true, "what builds; docker if it answers, else podman"),
    key("cache", Kind::Table(CACHE), false, "which caches it uses"),
    key("use-image-cache", Kind::Flag, false, "the older name of `cache.images`"),
    key(
        "outputs",
        Kind::Places,
        false,
        "files of the image that belong into the project: places on the left, paths or patterns in the image on the right",
    ),
    key(
        "lock",
        Kind::Flag,
        false,
        "whether larder.lock says which images the names in the Dockerfile and in `contexts` stand for, and what `ADD` and contexts fetch from addresses; `true`",
    ),
    key(
        "refresh",
        Kind::Text,
        false,
        "after what time a locked image is resolved anew, such as `30d`; `never`",
    ),
    key(
        "pack",
        Kind::Table(PACK),
        true,
        "makes the image of a folder, without an engine and without a Dockerfile",
    ),
];

pub(super) const DISK: &[Key] = &[
    key("description", Kind::Text, false, "what the disk is, for `larder list`"),
    key("inputs", Kind::Texts, true, "patterns of the files that `run` reads, relative to larder.toml"),
    key("args", Kind::Values, true, "variables that `run` sees; values as in an image's `args`"),
    key("run", Kind::Text, true, "the line for `sh -c` that makes it and writes it to `$LARDER_OUTPUT`"),
    key("output", Kind::Text, false, "where it goes, relative to larder.toml; a folder ends with a slash"),
    key("cache", Kind::Table(CACHE), false, "which caches it uses"),
    key("use-image-cache", Kind::Flag, false, "the older name of `cache.images`"),
    key("packages", Kind::Texts, false, PACKAGES),
    key("timeout", Kind::Text, false, "how long `run` may take, such as `30m`"),
];

const STEP: &[Key] = &[
    key("name", Kind::Text, false, "what the table of times calls it"),
    key("run", Kind::Text, false, "the line for `sh -c`, in the folder of larder.toml"),
    key("image", Kind::Text, false, "an image that is baked first; its name is in `$LARDER_IMAGE`"),
    key(
        "bake",
        Kind::Texts,
        false,
        "images that are baked here. Where any step has this, `ci` bakes nothing else",
    ),
    key(
        "when",
        Kind::OneOf(&["always", "manual"]),
        false,
        "`manual`: only with `ci STEP` or `ci --with STEP`",
    ),
    key(
        "inputs",
        Kind::Texts,
        false,
        "patterns of what it reads: where that is as it was at its last success, the step is skipped",
    ),
    key("env", Kind::Texts, false, "environment variables that it needs: asked for before anything runs"),
];

const CI: &[Key] = &[
    key("step", Kind::Several(STEP), false, "`[[ci.step]]`: the steps, in order"),
    key("steps", Kind::Several(STEP), false, "the same as one list"),
    key("log", Kind::Text, false, "a folder for what each step prints, and for `times.ndjson`"),
];

const STORE: &[Key] = &[key("dir", Kind::Text, false, "where the store is, relative to this file")];

const LARDER: &[Key] = &[key(
    "version",
    Kind::Text,
    false,
    "the oldest larder that will do, such as `0.1`, or a range: `>=0.1, <0.3`. Checked first",
)];

const FILE: &[Key] = &[
    key("image", Kind::Named(IMAGE), true, "an image, built from a Dockerfile or packed from a folder"),
    key("disk", Kind::Named(DISK), true, "what a command makes: a disk image, an archive or a folder"),
    key(
        "defaults",
        Kind::Any,
        true,
        "keys of `[image.NAME]` for all images that do not say them: all but `description`, `extends`, `matrix`, `outputs` and `pack`. Of a disk, `cache` and `timeout`",
    ),
    key("cache", Kind::Table(CACHE), false, "both caches for the whole file"),
    key("ci", Kind::Table(CI), false, "what `larder ci` runs"),
    key("store", Kind::Table(STORE), false, "the store of all tools"),
    key("larder", Kind::Table(LARDER), false, "larder itself"),
    key("gcctl", Kind::Any, false, "see `gcctl --help`"),
    key("pkgcache", Kind::Any, false, "see `pkgcache serve --help`"),
];

/// The page for people, in Markdown.
#[must_use]
pub fn page() -> String {
    let mut text = "# larder.toml\n\nAll keys. A value that is in the key makes another image where it is another one. Tables that begin with `x-` are yours; any other \
                    unknown table, and any unknown key of a table that is told here, is an error. `larder.local.toml` beside it goes above it, key by key, and `--set NAME.KEY=VALUE` above both.\n"
        .to_owned();
    for (heading, keys) in [
        ("The file", FILE),
        ("[image.NAME]", IMAGE),
        ("pack", PACK),
        ("secrets.NAME", SECRET),
        ("engine-cache", ENGINE_CACHE),
        ("[disk.NAME]", DISK),
        ("[cache], and cache", CACHE),
        ("[ci]", CI),
        ("[[ci.step]]", STEP),
        ("[store]", STORE),
        ("[larder]", LARDER),
    ] {
        // A string is never too long to be written.
        let _ = write!(
            text,
            "\n## {heading}\n\n| key | value | in the key | what it does |\n| --- | --- | --- | --- |\n"
        );
        for Key { name, kind, decides, text: words } in keys {
            let is_in = if *decides { "yes" } else { "" };
            let _ = writeln!(text, "| `{name}` | {} | {is_in} | {words} |", kind.in_words());
        }
    }
    text.push_str(NOTES);
    text
}

/// What is to be said of some of the keys at more length.
const NOTES: &str = "
## How outputs are written

`outputs` copies files out of an image into the project, after a build and on a hit. No engine has to run for that. On the left is a place relative to
larder.toml, on the right a path in the image, a pattern (`*`, `?`, `**`), or a list of them.

- A folder gives what is in it. A single file gets the name on the left, or goes into it if that ends with a slash. Times are kept.
- Files that a bake wrote for an earlier key are removed. All others are yours and stay, also those that you changed since. Unchanged files are not written again.
- Errors are: a pattern that matches nothing, an output that would be an input of the image's own key, a file that another image has written.

## How platforms are kept

With `platforms`, each image has its own key and its own line of the report. When the store has all of them, it gets an index of them, too: a line of its
own, under the table's name. Its key follows from theirs, it has the tags as they are written, and no blob is copied for it.

- `imgtar push NAME registry.example/app:1` gives a registry all platforms under one name; docker, podman and skopeo take their own from it.
- The index keeps what it lists when a collection removes the images' own keys.
- There is no index where one of the images was not saved, or where only some of the platforms are baked (`larder bake NAME@PLATFORM`).

## How disks are kept

`run` of `[disk.NAME]` writes to `$LARDER_OUTPUT`, and what it made is stored under a key of its inputs, arguments and command line. With the same key, the
next bake copies it out of the store. `larder bake NAME` takes disks by name, too.

- Files come back byte for byte, raw disks with their holes. A folder comes back with its modes and links, with times of 1980, and without empty folders.
- If the command fails, nothing is stored, and the old output stays.
";

/// The JSON Schema (2020-12), for editors that know one.
#[must_use]
pub fn schema() -> Value {
    let mut whole = object(FILE);
    if let Some(map) = whole.as_object_mut() {
        map.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        map.insert("title".into(), "larder.toml".into());
        map.insert("patternProperties".into(), json!({ "^x-": true }));
        let mut defaults = IMAGE.iter().filter(|key| !super::expand::NO_DEFAULTS.contains(&key.name));
        let defaults: Map<_, _> = defaults.by_ref().map(property).collect();
        if let Some(place) = map.get_mut("properties").and_then(|all| all.get_mut("defaults")) {
            *place = json!({ "type": "object", "properties": defaults, "additionalProperties": false });
        }
    }
    whole
}

fn object(keys: &[Key]) -> Value {
    let properties: Map<_, _> = keys.iter().map(property).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(key: &Key) -> (String, Value) {
    let mut value = key.kind.schema();
    if let Some(map) = value.as_object_mut() {
        map.insert("description".into(), key.text.into());
    }
    (key.name.to_owned(), value)
}

impl Kind {
    fn in_words(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Texts => "list of texts".to_owned(),
            Self::Words => "text, or list of texts".to_owned(),
            Self::Pairs => "names with texts".to_owned(),
            Self::Values => "names with texts, numbers or truth values".to_owned(),
            Self::Places => "names with texts, or lists of texts".to_owned(),
            Self::Lists => "names with lists of texts or numbers".to_owned(),
            Self::FlagOrTexts => "`true`, or list of texts".to_owned(),
            Self::OneOf(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
            }
            Self::Table(_) | Self::Any => "table".to_owned(),
            Self::Named(_) => "names with tables".to_owned(),
            Self::Several(_) => "list of tables".to_owned(),
        }
    }

    fn schema(&self) -> Value {
        let text = json!({ "type": "string" });
        let texts = json!({ "type": "array", "items": text });
        let of_names = |values: Value| json!({ "type": "object", "additionalProperties": values });
        match self {
            Self::Text => text,
            Self::Flag => json!({ "type": "boolean" }),
            Self::Texts => texts,
            Self::Words => json!({ "anyOf": [text, texts] }),
            Self::Pairs => of_names(text),
            Self::Values => of_names(json!({ "type": ["string", "number", "boolean"] })),
            Self::Places => of_names(json!({ "anyOf": [text, texts] })),
            Self::Lists => {
                of_names(json!({ "type": "array", "items": { "type": ["string", "number", "boolean"] } }))
            }
            Self::FlagOrTexts => json!({ "anyOf": [{ "type": "boolean" }, texts] }),
            Self::OneOf(words) => json!({ "enum": words }),
            Self::Table(keys) => object(keys),
            Self::Named(keys) => of_names(object(keys)),
            Self::Several(keys) => json!({ "type": "array", "items": object(keys) }),
            Self::Any => json!({ "type": "object" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    /// The keys that the reader says that it knows in the table.
    fn known(table: &str) -> Vec<String> {
        let message = parse(&format!("{table}\nno-such-key = 1\n")).expect_err("an unknown key").message;
        let (_, expected) = message.split_once("expected ").unwrap_or_else(|| panic!("{table}: {message}"));
        let mut names: Vec<_> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        names.sort();
        names
    }

    #[track_caller]
    fn is_complete(table: &str, keys: &[Key], read_before: &[&str]) {
        let mut names: Vec<_> = keys.iter().map(|key| key.name.to_owned()).collect();
        names.retain(|name| !read_before.contains(&name.as_str()));
        names.sort();
        assert_eq!(names, known(table), "{table}");
    }

    #[test]
    fn every_key_that_is_read_is_told_and_no_other() {
        is_complete("[image.a]", IMAGE, &["extends", "matrix", "platforms"]);
        is_complete("[image.a.pack]\ndir = \"d\"", PACK, &[]);
        is_complete("[image.a.secrets.s]", SECRET, &[]);
        is_complete("[image.a.engine-cache]", ENGINE_CACHE, &[]);
        is_complete("[image.a.cache]", CACHE, &[]);
        is_complete("[disk.d]", DISK, &[]);
        is_complete("[ci]", CI, &[]);
        is_complete("[[ci.step]]", STEP, &[]);
        is_complete("[store]", STORE, &[]);
        is_complete("[larder]", LARDER, &[]);
        let mut tables: Vec<_> = FILE.iter().map(|key| key.name).collect();
        tables.sort_unstable();
        assert_eq!(tables, crate::config::TABLES);
    }

    #[track_caller]
    fn is_written(file: &str, text: &str) {
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        larder_tests::reviewed(&path, text);
    }

    #[test]
    fn the_page_and_the_schema_are_written_down() {
        is_written("larder-toml.md", &page());
        is_written("larder.schema.json", &format!("{:#}\n", schema()));
    }
}

//! All keys of larder.toml in words: the page for people, and the JSON Schema for editors.
//!
//! The tests hold it against what the file's reader takes.

mod keys;
mod limits;

use std::fmt::Write;

use serde_json::{Map, Value, json};

use self::keys::{
    CACHE, CI, COMPOSE, ENGINE_CACHE, FILE, LARDER, LOGIN, PACK, PROFILE, SECRET, STEP, STORE, TAG, TIER,
    WHEN,
};
pub(super) use self::keys::{DISK, IMAGE};
use self::limits::{ENGINE_LIMIT, EXTRA};

/// One key of a table.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    kind: Kind,
    /// Whether it decides about an image's or a disk's key.
    decides: bool,
    text: &'static str,
}

/// What a key's value is.
pub(crate) enum Kind {
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
    /// Names with tables: those keys of an image that a service has.
    Services,
    /// A list of tables.
    Several(&'static [Key]),
    /// A list of texts or tables.
    Rules(&'static [Key]),
    /// A whole number that is not negative.
    Number,
    /// A number of bytes, with a unit or without.
    Size,
    /// Another tool's table, with these keys; what is known of some of them.
    Foreign(&'static [&'static str], &'static [Key]),
    /// Any table.
    Any,
}

const fn key(name: &'static str, kind: Kind, decides: bool, text: &'static str) -> Key {
    Key { name, kind, decides, text }
}

/// The page for people, in Markdown.
#[must_use]
pub fn page() -> String {
    let mut text = "# larder.toml\n\nAll keys. A value that is in the key makes another image where it is another one. Tables that begin with `x-` are yours; any other \
                    unknown table, and any unknown key of a table that is told here, is an error. `larder.local.toml` beside it goes above it, key by key, and `--set NAME.KEY=VALUE` above both.\n"
        .to_owned();
    let services: Vec<&Key> = of_service().collect();
    let all = |keys: &'static [Key]| keys.iter().collect::<Vec<_>>();
    for (heading, keys) in [
        ("The file", all(FILE)),
        ("[image.NAME]", all(IMAGE)),
        ("pack", all(PACK)),
        ("secrets.NAME", all(SECRET)),
        ("engine-cache", all(ENGINE_CACHE)),
        ("[disk.NAME]", all(DISK)),
        ("[compose]", all(COMPOSE)),
        ("[service.NAME]", services),
        ("[cache], and cache", all(CACHE)),
        ("[ci]", all(CI)),
        ("[[ci.step]]", all(STEP)),
        ("[store]", all(STORE)),
        ("[tier.NAME]", all(TIER)),
        ("login", all(LOGIN)),
        ("[profile.NAME]", all(PROFILE)),
        ("when", all(WHEN)),
        ("tags", all(TAG)),
        ("[larder]", all(LARDER)),
        ("[[gcctl.engine]]", all(ENGINE_LIMIT)),
        ("[[extra]]", all(EXTRA)),
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
- Files that a bake wrote for an earlier key are removed. All others are yours and stay, but for those in the places of this key's files: they are replaced. Unchanged files are not written again.
- Errors are: a pattern that matches nothing, an output that would be an input of the image's own key, a file that another image has written.

## How platforms are kept

With `platforms`, each image has its own key and its own line of the report. When the store has all of them, it gets an index of them, too: a line of its
own, under the table's name. Its key follows from theirs, it has the tags as they are written, and no blob is copied for it.

- `imgtar push NAME registry.example/app:1` gives a registry all platforms under one name; docker, podman and skopeo take their own from it.
- The index keeps what it lists when a collection removes the images' own keys.
- There is no index where one of the images was not saved, or where only some of the platforms are baked (`larder bake NAME@PLATFORM`).

## What a build fetched

With `packages`, the report says of each image what its package clients took from the package cache and from upstreams, also where several are built at once. What they fetched is kept with the
image: `imgtar info NAME --packages` lists it, with version, digest and who vouches for it.

- A step that the engine takes from its own cache fetches nothing. What it had fetched stays on record where an earlier build of the same key, or of the image's key before, did: such a build adds to that record, which may
  so name more than the image holds. A build from scratch (`--rebuild`) begins it anew, and only then the record is complete for sure.
- The record stays in the store that the image was built into: no tier, registry or archive carries it. It goes with the image, and `gcctl undo` brings it back.
- Not seen is what a client has in a cache of its own (`RUN --mount=type=cache`) and does not ask for, and what a step fetches past the package cache.

## How disks are kept

`run` of `[disk.NAME]` writes to `$LARDER_OUTPUT`, and what it made is stored under a key of its inputs, arguments and command line, and of the keys of its
`needs`. With the same key, the next bake copies it out of the store. `larder bake NAME` takes disks by name, too.

- `needs` names images and disks that the command uses and that are no files of the project, such as an image in the engine by its tag. They are baked first, also where only this disk is asked for; where
  one was made anew, so is this.
- With `-j`, disks are made beside one another and beside images: what a command prints is then shown where it fails, or with `-v`. A disk whose `inputs` name an output of an image or of
  another disk comes after it by itself.
- Commands that run at once share the project's folder: a file that two of them write, other than `$LARDER_OUTPUT`, may be the other's. Give each its own, or say `-j1`.
- Two disks with one output are refused when larder.toml is read, as is an output within a folder that a disk makes.
- If a disk is not kept, as with `cache = { images = false }`, nothing is stored of what needs it (of an image the engine has an ID); nor of a disk if meanwhile another build takes a name of a needed image, or the file of a needed disk is changed.

- Files come back byte for byte, raw disks with their holes. A folder comes back with its modes and links, with times of 1980, and without empty folders.
- If the command fails, nothing is stored, and the old output stays.
";

/// The JSON Schema (2020-12), for editors that know one.
#[must_use]
pub fn schema() -> Value {
    let mut whole = object(FILE.iter());
    if let Some(map) = whole.as_object_mut() {
        map.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        map.insert("title".into(), "larder.toml".into());
        map.insert("patternProperties".into(), json!({ "^x-": true }));
        let mut defaults = IMAGE.iter().filter(|key| !crate::config::expand::NO_DEFAULTS.contains(&key.name));
        let defaults: Map<_, _> = defaults.by_ref().map(property).collect();
        if let Some(place) = map.get_mut("properties").and_then(|all| all.get_mut("defaults")) {
            *place = json!({ "type": "object", "properties": defaults, "additionalProperties": false });
        }
    }
    whole
}

/// The keys of an image that `[service.NAME]` has.
fn of_service() -> impl Iterator<Item = &'static Key> {
    IMAGE.iter().filter(|key| super::compose::services::KEYS.contains(&key.name))
}

fn object<'k>(keys: impl Iterator<Item = &'k Key>) -> Value {
    let properties: Map<_, _> = keys.map(property).collect();
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
            Self::Size => "text or number".to_owned(),
            Self::Foreign(keys, _) => format!("table with `{}`", keys.join("`, `")),
            Self::Named(_) | Self::Services => "names with tables".to_owned(),
            Self::Several(_) => "list of tables".to_owned(),
            Self::Rules(_) => "list of texts or tables".to_owned(),
            Self::Number => "number".to_owned(),
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
            Self::Table(keys) => object(keys.iter()),
            Self::Named(keys) => of_names(object(keys.iter())),
            Self::Services => of_names(object(of_service())),
            Self::Several(keys) => json!({ "type": "array", "items": object(keys.iter()) }),
            Self::Rules(keys) => {
                json!({ "type": "array", "items": { "anyOf": [text, object(keys.iter())] } })
            }
            Self::Number => json!({ "type": "integer", "minimum": 0, "maximum": 255 }),
            Self::Size => json!({ "type": ["string", "integer"] }),
            Self::Foreign(keys, known) => {
                let named = keys.iter().map(|key| ((*key).to_owned(), json!({})));
                let properties: Map<_, _> = named.chain(known.iter().map(property)).collect();
                // A table may be a tier's; its keys are the tool's to judge.
                json!({ "type": "object", "properties": properties, "additionalProperties": { "type": "object" } })
            }
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
    fn is_complete(table: &str, keys: &[Key]) {
        let mut names: Vec<_> = keys.iter().map(|key| key.name.to_owned()).collect();
        names.sort();
        assert_eq!(names, known(table), "{table}");
    }

    #[test]
    fn every_key_that_is_read_is_told_and_no_other() {
        is_complete("[image.a]", IMAGE);
        is_complete("[image.a.pack]\ndir = \"d\"", PACK);
        is_complete("[image.a.secrets.s]", SECRET);
        is_complete("[image.a.engine-cache]", ENGINE_CACHE);
        is_complete("[image.a.cache]", CACHE);
        is_complete("[disk.d]", DISK);
        is_complete("[compose]", COMPOSE);
        let mut of_service: Vec<_> = of_service().map(|key| key.name.to_owned()).collect();
        of_service.sort();
        assert_eq!(of_service, known("[service.s]"));
        is_complete("[ci]", CI);
        is_complete("[[ci.step]]", STEP);
        is_complete("[store]", STORE);
        is_complete("[larder]", LARDER);
        is_complete("[tier.t]", TIER);
        is_complete("[tier.t.login]", LOGIN);
        is_complete("[profile.p]", PROFILE);
        is_complete("[profile.p.when]", WHEN);
        is_complete("[[gcctl.engine]]", ENGINE_LIMIT);
        is_complete("[[extra]]", EXTRA);
        let mut tables: Vec<_> = FILE.iter().map(|key| key.name).collect();
        tables.sort_unstable();
        assert_eq!(tables, toolkit::tables::TABLES);
    }

    /// Each key of the table is named where one of its letters is missing.
    #[track_caller]
    fn is_named(table: &str, keys: &[Key]) {
        for Key { name, .. } in keys {
            // A key that is another one then, or two letters, is nobody's mistake.
            let wrong = format!("{}{}", &name[..name.len() / 2], &name[name.len() / 2 + 1..]);
            if name.len() < 3 || keys.iter().any(|other| other.name == wrong) {
                continue;
            }
            let help = parse(&format!("{table}\n{wrong} = 1\n")).expect_err("an unknown key").help;
            assert!(help.starts_with(&format!("is `{name}` meant?")), "{table} {wrong}: {help}");
        }
    }

    #[test]
    fn a_misspelt_key_of_any_table_is_told_with_the_right_one() {
        is_named("[image.a]", IMAGE);
        is_named("[image.a.pack]\ndir = \"d\"", PACK);
        is_named("[image.a.secrets.s]", SECRET);
        is_named("[image.a.engine-cache]", ENGINE_CACHE);
        is_named("[image.a.cache]", CACHE);
        is_named("[disk.d]", DISK);
        is_named("[cache]", CACHE);
        is_named("[compose]", COMPOSE);
        is_named("[ci]", CI);
        is_named("[[ci.step]]", STEP);
        is_named("[store]", STORE);
        is_named("[larder]", LARDER);
        is_named("[tier.t]", TIER);
        is_named("[tier.t.login]", LOGIN);
        is_named("[profile.p]", PROFILE);
        is_named("[profile.p.when]", WHEN);
        is_named("[[gcctl.engine]]", ENGINE_LIMIT);
        is_named("[[extra]]", EXTRA);
        let help = |text: &str| parse(text).expect_err("an unknown key").help;
        assert_eq!(help("[image.a]\nplatfroms = 1\n"), "is `platforms` meant?");
        assert_eq!(help("[defaults]\nplatfroms = 1\n"), "is `platforms` meant?");
        assert!(help("[service.a]\nneds = 1\n").starts_with("is `needs` meant?"));
    }

    /// What may stand for a key of another tool's.
    fn value(name: &str) -> &'static str {
        match name {
            "max-age" | "trash-grace" => "\"30d\"",
            "after-bake" | "background" => "true",
            "order" => "\"cost\"",
            "limit" => "[{ kind = \"disks\", max-entries = 3 }]",
            "engine" => "[{ engine = \"podman\", keep = [\"debian:*\"] }]",
            "keep" => "[\"*:v*\"]",
            _ => "1",
        }
    }

    #[test]
    fn a_value_that_gcctl_would_refuse_is_refused() {
        let tier = "[tier.team]\nstore = \"s\"\n";
        for (text, message, marked) in [
            ("[gcctl]\nmax-images = \"3\"\n", "expected a number of images", "\"3\""),
            ("[gcctl]\nmin-free = \"1ZB\"\n", "\"1ZB\" is not a size", "\"1ZB\""),
            ("[gcctl]\nafter-bake = 1\n", "expected a boolean", "1"),
            ("[gcctl]\nmin-free = \"5 percent\"\n", "is not a size", "\"5 percent\""),
            ("[gcctl.limit]\nmax-age = 30\n", "is a list of limits", "limit"),
            ("[gcctl.engine]\nmax-age = 30\n", "is a list of limits", "engine"),
            ("[[gcctl.engine]]\nkeep = [\"a\", \"[\"]\n", "`[` is no pattern of names", "\"[\""),
            ("[[gcctl.engine]]\nmax-age = 30\n", "\"30\" is not an age", "30"),
            ("[gcctl]\nmax-images = 1\n[gcctl.team]\nmax-age = 30\n", "\"30\" is not an age", "30"),
            ("[gcctl.team]\nkeep = [\"a\", \"[\"]\n", "`[` is no pattern of names", "\"[\""),
        ] {
            let text = format!("{tier}{text}");
            let fault = parse(&text).expect_err("a wrong value");
            assert!(fault.message.contains(message), "{}", fault.message);
            assert_eq!(text.get(fault.at.expect("a place")), Some(marked));
        }
    }

    #[test]
    fn a_key_that_another_tool_would_refuse_is_refused() {
        for (table, keys) in [("gcctl", toolkit::tables::GCCTL), ("pkgcache", toolkit::tables::PKGCACHE)] {
            for name in keys {
                parse(&format!("[{table}]\n{name} = {}\n", value(name))).expect("a good value");
                let fault = parse(&format!("[{table}]\nx{name} = 1\n")).expect_err("an unknown key");
                assert_eq!(fault.message, format!("`[{table}]` has no key `x{name}`"));
                let at = fault.at.expect("a place");
                assert_eq!(at, table.len() + 3..table.len() + 4 + name.len());
                assert!(fault.help.starts_with(&format!("is `{name}` meant? ")), "{}", fault.help);
            }
        }
        // The limits of a tier.
        let tier = "[tier.team]\nstore = \"s\"\n";
        for name in toolkit::tables::GCCTL_TIER {
            parse(&format!("{tier}[gcctl.team]\n{name} = {}\n", value(name))).expect("a good value");
        }
        let fault = |text: &str| parse(&format!("{tier}{text}")).expect_err("a wrong file");
        assert!(fault("[gcctl.taem]\nmax-age = 1\n").help.starts_with("is `team` meant?"));
        let wrong = fault("[gcctl.team]\nkeep_refs = 1\n");
        assert!(wrong.help.starts_with("is `keep-refs` meant?") && wrong.message.contains("[gcctl.team]"));
        parse("[pkgcache.aptt]\nx = 1\n").expect_err("an unknown table");
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

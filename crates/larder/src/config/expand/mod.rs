//! The tables of images and disks as they count: with what `[defaults]` and `extends` give them,
//! one for each combination of a `matrix` and each of its `platforms`, and with `variables` put in.
//!
//! Works on tables alone, and knows what few keys mean; each part keeps its place.

mod matrix;
pub(super) mod platforms;
pub(super) mod variables;

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use storekit::Platform;

use self::matrix::Value;
use self::platforms::apart;
use self::variables::{Variables, names_one, replaced};
use crate::config::fault::Fault;
use crate::config::layers::{Table, merge};
use toolkit::nearest::question;

/// What belongs to one image alone, and goes to none that extends it.
const OWN: [&str; 5] = ["description", "extends", "matrix", "outputs", "tags"];

/// What `[defaults]` cannot have: each image says it for itself.
pub(super) const NO_DEFAULTS: [&str; 5] = ["description", "extends", "matrix", "outputs", "pack"];

/// What is taken out of an image's table before the rest of it is read.
pub(super) const TAKEN: [&str; 3] = ["extends", "matrix", "platforms"];

/// What of the defaults a packed image has no use for.
const BUILD: [&str; 12] = [
    "args",
    "base",
    "context",
    "contexts",
    "dockerfile",
    "engine-cache",
    "labels",
    "network",
    "packages",
    "secrets",
    "ssh",
    "target",
];

/// The values that may have variables.
pub(super) const WITH_VARIABLES: [&str; 5] = ["args", "labels", "tags", "contexts", "secrets"];

/// What of the defaults a disk has.
const DISK: [&str; 4] = ["cache", "packages", "timeout", "use-image-cache"];

/// The table of one image or disk.
pub(crate) struct Entry<'i> {
    pub(super) name: String,
    /// The table's name: that of all images of one `matrix`.
    pub(super) group: String,
    /// The name without the platform: that of all images of one `platforms`.
    pub(super) plain: String,
    /// The platform, where the table has several.
    pub(super) platform: Option<Platform>,
    /// Whether its tags tell it from the other platforms' by themselves.
    pub(super) tells: bool,
    /// The place of its name.
    pub(super) at: Range<usize>,
    pub(super) table: Table<'i>,
    /// What of its values looks like a variable and is taken as it stands.
    pub(super) literals: Vec<String>,
    /// The args that are set in its own table.
    pub(super) own_args: BTreeSet<String>,
}

impl<'i> Entry<'i> {
    pub(super) fn new(name: &str, at: Range<usize>, table: Table<'i>) -> Self {
        let [name, group, plain] = [name, name, name].map(str::to_owned);
        Self {
            name,
            group,
            plain,
            platform: None,
            tells: false,
            at,
            table,
            literals: Vec::new(),
            own_args: BTreeSet::new(),
        }
    }
}

/// Takes the tables `[image.NAME]` out of the file, in the order of their lines.
pub(super) fn images<'i>(file: &mut Table<'i>) -> Result<Vec<Entry<'i>>, Fault> {
    let images = named_tables(file, "image")?;
    let defaults = defaults(file)?;
    let family = Family { images: &images, file };
    let mut entries = Vec::new();
    for (name, at, own) in &images {
        let whole = family.with_ancestors(own, &mut vec![name.clone()])?;
        let own_args = args_of(own);
        let mut table = defaults.clone();
        if whole.contains_key("pack") {
            without(&mut table, &BUILD);
        }
        apart(&mut table, &whole);
        merge(&mut table, whole);
        table.remove("extends");
        let platforms = platforms::taken(&mut table)?;
        for values in matrix::combinations(&mut table)? {
            let one = |platform| {
                let matrix = values.iter().map(|value| value.name.get_ref().to_string());
                let own_args = own_args.iter().cloned().chain(matrix).collect();
                Entry { own_args, ..entry(name, at.clone(), &table, &values, platform) }
            };
            entries.extend(platforms.iter().map(Some).map(one));
            entries.extend(platforms.is_empty().then(|| one(None)));
        }
    }
    Ok(entries)
}

/// Takes the tables `[disk.NAME]` out of the file, in the order of their lines.
pub(super) fn disks<'i>(file: &mut Table<'i>) -> Result<Vec<Entry<'i>>, Fault> {
    let disks = named_tables(file, "disk")?;
    let mut defaults = defaults(file)?;
    defaults = defaults.into_iter().filter(|(key, _)| DISK.contains(&key.get_ref().as_ref())).collect();
    let whole = |(name, at, own): (String, Range<usize>, Table<'i>)| {
        let mut table = defaults.clone();
        merge(&mut table, own);
        Entry::new(&name, at, table)
    };
    Ok(disks.into_iter().map(whole).collect())
}

fn without(table: &mut Table<'_>, keys: &[&str]) {
    for key in keys {
        table.remove(*key);
    }
}

/// The defaults of all images.
pub(super) fn defaults<'i>(file: &Table<'i>) -> Result<Table<'i>, Fault> {
    let Some(value) = file.get("defaults") else { return Ok(Table::new()) };
    let DeValue::Table(table) = value.get_ref() else { return Err(not_a_table("defaults", value.span())) };
    match table.keys().find(|key| NO_DEFAULTS.contains(&key.get_ref().as_ref())) {
        None => Ok(table.clone()),
        Some(key) => Err(Fault::new(
            format!("`{}` cannot be a default", key.get_ref()),
            key.span(),
            "it belongs into `[image.NAME]`; `extends` takes other settings over from another image",
        )),
    }
}

pub(super) fn named_tables<'i>(
    file: &mut Table<'i>,
    kind: &str,
) -> Result<Vec<(String, Range<usize>, Table<'i>)>, Fault> {
    let Some(value) = file.remove(kind) else { return Ok(Vec::new()) };
    let at = value.span();
    let DeValue::Table(tables) = value.into_inner() else { return Err(not_a_table(kind, at)) };
    let mut named = Vec::new();
    for (name, value) in tables {
        let at = name.span();
        let DeValue::Table(table) = value.into_inner() else {
            return Err(not_a_table(&format!("{kind}.{}", name.get_ref()), at));
        };
        named.push((name.into_inner().into_owned(), at, table));
    }
    named.sort_by_key(|(_, at, _)| at.start);
    Ok(named)
}

fn not_a_table(name: &str, at: Range<usize>) -> Fault {
    Fault::new(format!("`{name}` is not a table"), at, format!("write `[{name}]`, and its keys below it"))
}

/// What an image may extend.
struct Family<'f, 'i> {
    images: &'f [(String, Range<usize>, Table<'i>)],
    file: &'f Table<'i>,
}

impl<'i> Family<'_, 'i> {
    /// The table above those that it extends. `path` has the names from the first image on.
    fn with_ancestors(&self, own: &Table<'i>, path: &mut Vec<String>) -> Result<Table<'i>, Fault> {
        let mut sum = Table::new();
        for parent in parents(own)? {
            let name = parent.get_ref();
            if path.contains(name) {
                let course = path.join("` extends `");
                let help = "an image cannot extend itself";
                return Err(Fault::new(format!("`{course}` extends `{name}`"), parent.span(), help));
            }
            path.push(name.clone());
            let mut above = self.with_ancestors(self.named(&parent)?, path)?;
            path.pop();
            without(&mut above, &OWN);
            apart(&mut sum, &above);
            merge(&mut sum, above);
        }
        apart(&mut sum, own);
        merge(&mut sum, own.clone());
        Ok(sum)
    }

    fn named(&self, parent: &Spanned<String>) -> Result<&Table<'i>, Fault> {
        let name = parent.get_ref();
        let image = self.images.iter().find(|(image, _, _)| image == name).map(|(_, _, table)| table);
        let of_user = || {
            let value = self.file.get(name.as_str()).filter(|_| name.starts_with("x-"))?;
            value.get_ref().as_table()
        };
        image.or_else(of_user).ok_or_else(|| {
            let meant = question(name, self.images.iter().map(|(image, _, _)| image.as_str()));
            let help =
                format!("{meant}`extends` names an image of this file, or a table of your own, `[x-NAME]`");
            Fault::new(format!("there is no image `{name}` to extend"), parent.span(), help)
        })
    }
}

/// The names in `extends`.
fn parents(table: &Table<'_>) -> Result<Vec<Spanned<String>>, Fault> {
    let Some(value) = table.get("extends") else { return Ok(Vec::new()) };
    let text = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::String(name) => Ok(Spanned::new(value.span(), name.to_string())),
        _ => {
            Err(Fault::new("`extends` is not a name", value.span(), "write `extends = \"NAME\"`, or a list"))
        }
    };
    match value.get_ref() {
        DeValue::Array(names) => names.iter().map(text).collect(),
        _ => Ok(vec![text(value)?]),
    }
}

/// The names of the args in one table.
pub(super) fn args_of(table: &Table<'_>) -> BTreeSet<String> {
    let args = table.get("args").and_then(|args| args.get_ref().as_table());
    args.into_iter().flat_map(|args| args.keys()).map(|name| name.get_ref().to_string()).collect()
}

/// One image of a table, with the values of its matrix as args and in the place of `{NAME}`, and
/// with one of its platforms.
fn entry<'i>(
    group: &str,
    at: Range<usize>,
    table: &Table<'i>,
    values: &[Value<'i>],
    platform: Option<&Spanned<Platform>>,
) -> Entry<'i> {
    let mut table = table.clone();
    if !values.is_empty() {
        let mut args = Table::new();
        for value in values {
            let text = Spanned::new(value.at.clone(), DeValue::String(value.text.clone().into()));
            args.insert(value.name.clone(), text);
        }
        let key = Spanned::new(at.clone(), "args".into());
        let args = Spanned::new(at.clone(), DeValue::Table(args));
        merge(&mut table, std::iter::once((key, args)).collect());
    }
    let plain = std::iter::once(group.to_owned()).chain(values.iter().map(Value::in_name));
    let plain = plain.collect::<Vec<_>>().join("-");
    let named = values.iter().map(|value| (format!("{{{}}}", value.name.get_ref()), value.text.clone()));
    let mut places: Vec<_> = named.chain([("{image}".to_owned(), plain.clone())]).collect();
    let mut entry = Entry { group: group.to_owned(), ..Entry::new(&plain, at.clone(), Table::new()) };
    if let Some(platform) = platform {
        let key = Spanned::new(platform.span(), "platform".into());
        let platform = (platform.span(), platform.get_ref());
        table.insert(key, Spanned::new(platform.0, DeValue::String(platform.1.to_string().into())));
        entry.name = format!("{plain}@{}", platform.1);
        entry.platform = Some(platform.1.clone());
        entry.tells = table.get("tags").is_some_and(platforms::names_it);
        places.push((platforms::PLACE.to_owned(), platforms::in_name(platform.1)));
    }
    Entry { table: filled(table, &places), ..entry }
}

/// The table with each placeholder replaced, in keys and in values.
pub(super) fn filled<'i>(table: Table<'i>, places: &[(String, String)]) -> Table<'i> {
    let key = |key: Spanned<std::borrow::Cow<'i, str>>| {
        let at = key.span();
        Spanned::new(at, fill(key.into_inner(), places))
    };
    table.into_iter().map(|(name, value)| (key(name), filled_value(value, places))).collect()
}

fn filled_value<'i>(value: Spanned<DeValue<'i>>, places: &[(String, String)]) -> Spanned<DeValue<'i>> {
    let at = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => DeValue::String(fill(text, places)),
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| filled_value(item, places)).collect())
        }
        DeValue::Table(table) => DeValue::Table(filled(table, places)),
        other => other,
    };
    Spanned::new(at, value)
}

fn fill<'i>(text: std::borrow::Cow<'i, str>, places: &[(String, String)]) -> std::borrow::Cow<'i, str> {
    if !text.contains('{') {
        return text;
    }
    places.iter().fold(text.into_owned(), |text, (place, value)| text.replace(place, value)).into()
}

/// What is set of it on the command line goes above all.
pub(super) fn set<'i>(entry: &mut Entry<'i>, over: Table<'i>) -> Result<(), Fault> {
    let is_one_of = |key: &str| entry.platform.is_some() && key == "platform";
    let decides = |key: &str| matches!(key, "extends" | "matrix" | "platforms") || is_one_of(key);
    if let Some(key) = over.keys().find(|key| decides(key.get_ref())) {
        let help = "it decides which images there are: write it into larder.toml, or larder.local.toml";
        return Err(Fault::new(format!("`{}` cannot be set", key.get_ref()), key.span(), help));
    }
    merge(&mut entry.table, over);
    Ok(())
}

/// Puts variables into the values that may have them, and makes args of all kinds texts.
pub(super) fn settle(entry: &mut Entry<'_>, variables: Variables<'_>) -> Result<(), Fault> {
    if let Some(DeValue::Table(args)) = entry.table.get_mut("args").map(Spanned::get_mut) {
        for (name, value) in args.iter_mut() {
            let at = value.span();
            if let DeValue::String(text) = value.get_ref()
                && names_one(text, false)
            {
                entry.literals.push(format!("`args.{}` has the text `{text}`", name.get_ref()));
            }
            let text = match value.get_ref() {
                DeValue::Boolean(true) => Some(from_environment(name.get_ref(), at.clone(), variables)?),
                other => scalar(other),
            };
            if let Some(text) = text {
                *value = Spanned::new(at, DeValue::String(text.into()));
            }
        }
    }
    for key in WITH_VARIABLES {
        if let Some(value) = entry.table.get_mut(key) {
            put_in(value, variables)?;
        }
    }
    Ok(())
}

fn from_environment(name: &str, at: Range<usize>, variables: Variables<'_>) -> Result<String, Fault> {
    // A dollar in the value is the value's own.
    let value = variables(name).map(|value| value.replace("${", "$${"));
    value.ok_or_else(|| {
        let help = format!(
            "set it, or write `\"${{{name}:-…}}\"` with what counts without it, or `\"true\"` for the word"
        );
        Fault::new(format!("the environment variable `{name}` is not set"), at, help)
    })
}

/// The text of a number, a word or a truth value, as it is written; `None` for anything else.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Puts variables into each text of the value.
fn put_in(value: &mut Spanned<DeValue<'_>>, variables: Variables<'_>) -> Result<(), Fault> {
    let at = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains("${") => {
            let new = replaced(text, variables);
            *text = new.map_err(|unfit| Fault::new(unfit.to_string(), at, unfit.help()))?.into();
        }
        DeValue::Array(items) => items.iter_mut().try_for_each(|item| put_in(item, variables))?,
        DeValue::Table(table) => table.iter_mut().try_for_each(|(_, value)| put_in(value, variables))?,
        _ => {}
    }
    Ok(())
}

/// The table as a value with a place, for serde.
pub(super) fn as_value(at: Range<usize>, table: DeTable<'_>) -> Spanned<DeValue<'_>> {
    Spanned::new(at, DeValue::Table(table))
}

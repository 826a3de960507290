//! The tables of other tools in larder.toml: what the tools themselves would refuse is refused when
//! the file is read. `[gcctl]` is known to its values, of `[pkgcache]` the names of the keys.

use globset::Glob;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::DeValue;
use toolkit::nearest::question;
use toolkit::tables::{self, StoreLimits, TierLimits};

use super::expand::as_value;
use super::fault::{Fault, misread};
use super::layers::Table;

/// Refuses keys and values of other tools' tables that the tools themselves would refuse.
pub(super) fn check(file: &Table<'_>) -> Result<(), Fault> {
    let table_of = |name: &str| file.get(name).and_then(|value| value.get_ref().as_table());
    if let Some(own) = table_of("pkgcache") {
        known_in("pkgcache", own, tables::PKGCACHE, |_, _| false)?;
    }
    let Some(own) = table_of("gcctl") else { return Ok(()) };
    // A table in it is a tier's.
    known_in("gcctl", own, tables::GCCTL, |_, value| value.is_table())?;
    let values = own.clone().into_iter().filter(|(_, value)| !value.get_ref().is_table()).collect();
    let limits = read::<StoreLimits>(values)?;
    names_of_limits(&limits, own)?;
    limits.engine.iter().try_for_each(|limit| patterns(&limit.keep))?;
    let tiers: Vec<_> =
        table_of("tier").into_iter().flatten().map(|(name, _)| name.get_ref().as_ref()).collect();
    for (name, value) in own {
        let Some(limits) = value.get_ref().as_table() else { continue };
        let word = name.get_ref().as_ref();
        if tables::LISTS.contains(&word) {
            let help = format!("write `[[gcctl.{word}]]`, with two brackets; no tier can have this name");
            return Err(Fault::new(format!("`[gcctl.{word}]` is a list of limits"), name.span(), help));
        }
        if !tiers.contains(&word) {
            let help = format!(
                "{}the limits of a tier stand in the table of its name",
                question(word, tiers.into_iter())
            );
            return Err(Fault::new(format!("there is no tier `{word}`"), name.span(), help));
        }
        known_in(&format!("gcctl.{word}"), limits, tables::GCCTL_TIER, |_, _| false)?;
        let limits: TierLimits<Spanned<String>> = read(limits.clone())?;
        patterns(&limits.keep)?;
    }
    Ok(())
}

/// The table's values.
fn read<T: for<'de> Deserialize<'de>>(table: Table<'_>) -> Result<T, Fault> {
    T::deserialize(as_value(0..0, table).into_deserializer()).map_err(|error| misread(&error))
}

/// Refuses names with a mark in them that means nothing.
fn patterns(keep: &[Spanned<String>]) -> Result<(), Fault> {
    for pattern in keep {
        if let Err(error) = Glob::new(pattern.get_ref()) {
            let message = format!("`{}` is no pattern of names: {}", pattern.get_ref(), error.kind());
            return Err(Fault::new(message, pattern.span(), "`*` stands for any letters: `\"*:v*\"`"));
        }
    }
    Ok(())
}

/// The same of limits of some things.
fn names_of_limits(limits: &StoreLimits, own: &Table<'_>) -> Result<(), Fault> {
    for name in limits.limit.iter().filter_map(|limit| limit.of.name.as_ref()) {
        if let Err(error) = Glob::new(name) {
            let at = own.iter().find(|(key, _)| key.get_ref() == "limit").map(|(key, _)| key.span());
            let message = format!("`{name}` is no pattern of names: {}", error.kind());
            return Err(Fault::new(
                message,
                at.unwrap_or_default(),
                "`*` stands for any letters: `\"app-*\"`",
            ));
        }
    }
    Ok(())
}

/// Refuses keys of a table that are neither among these nor taken in by `also`.
fn known_in(
    table: &str,
    own: &Table<'_>,
    keys: &[&str],
    also: impl Fn(&str, &DeValue<'_>) -> bool,
) -> Result<(), Fault> {
    let unknown = own.iter().find(|(key, value)| {
        !keys.contains(&key.get_ref().as_ref()) && !also(key.get_ref(), value.get_ref())
    });
    let Some((key, _)) = unknown else { return Ok(()) };
    let word = key.get_ref().as_ref();
    let help = format!("{}there are `{}`", question(word, keys.iter().copied()), keys.join("`, `"));
    Err(Fault::new(format!("`[{table}]` has no key `{word}`"), key.span(), help))
}

//! `matrix`: one table, and an image for each combination of its values.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::scalar;
use crate::config::fault::Fault;
use crate::config::layers::Table;

/// How many images one table may stand for.
const MOST: usize = 500;

/// One of the values that an image has of its matrix.
#[derive(Clone)]
pub(in crate::config) struct Value<'i> {
    pub(in crate::config) name: Spanned<Cow<'i, str>>,
    pub(in crate::config) text: String,
    pub(in crate::config) at: Range<usize>,
}

impl Value<'_> {
    /// The value as part of an image's name: letters that none has become dashes.
    pub(in crate::config) fn in_name(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        self.text.chars().map(|c| if plain(c) { c } else { '-' }).collect()
    }
}

/// Takes `matrix` out of the table. The values of each image, the first name changing slowest; one
/// image without values where there is no matrix.
pub(in crate::config) fn combinations<'i>(table: &mut Table<'i>) -> Result<Vec<Vec<Value<'i>>>, Fault> {
    // The key alone is marked: what stands behind it may be long.
    let key = table.keys().find(|key| key.get_ref() == "matrix").map(Spanned::span);
    let Some((at, matrix)) = key.zip(table.remove("matrix")) else { return Ok(vec![Vec::new()]) };
    let help = "write `matrix = { NAME = [\"one\", \"two\"] }`: NAME becomes a build argument";
    let bad = |what: String, at| Fault::new(what, at, help);
    let DeValue::Table(matrix) = matrix.into_inner() else {
        return Err(bad("`matrix` is not a table".to_owned(), at));
    };
    let mut axes: Vec<Vec<Value<'i>>> = Vec::new();
    for (name, values) in matrix {
        let (values_at, what) = (values.span(), name.get_ref().clone());
        let words = match values.into_inner() {
            DeValue::Array(values) => values.into_iter().map(|value| one(&name, &value)).collect(),
            _ => None,
        };
        let words: Option<Vec<_>> = words;
        let is_empty = words.as_ref().is_some_and(Vec::is_empty);
        let why = if is_empty { "is empty" } else { "is not a list of words or numbers" };
        let wrong = || bad(format!("`matrix.{what}` {why}"), values_at.clone());
        let twice = words
            .iter()
            .flatten()
            .enumerate()
            .find(|(at, value)| words.iter().flatten().take(*at).any(|other| other.text == value.text));
        if let Some((_, value)) = twice {
            return Err(bad(format!("`{}` stands twice in `matrix.{what}`", value.text), value.at.clone()));
        }
        axes.push(words.filter(|words| !words.is_empty()).ok_or_else(wrong)?);
    }
    if axes.is_empty() {
        return Err(bad("`matrix` has no names".to_owned(), at));
    }
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.len()));
    if count.is_none_or(|count| count > MOST) {
        let count = count
            .map_or_else(|| "more images than can be counted".to_owned(), |count| format!("{count} images"));
        let help = format!("one table stands for at most {MOST}; write fewer values, or several tables");
        return Err(Fault::new(format!("`matrix` makes {count}"), at, help));
    }
    axes.sort_by_key(|axis| axis.first().map(|value| value.name.span().start));
    Ok(axes.iter().fold(vec![Vec::new()], |images: Vec<Vec<Value<'i>>>, axis| {
        let with = |image: &Vec<Value<'i>>, value: &Value<'i>| {
            image.iter().cloned().chain([value.clone()]).collect::<Vec<_>>()
        };
        images.iter().flat_map(|image| axis.iter().map(move |value| with(image, value))).collect()
    }))
}

fn one<'i>(name: &Spanned<Cow<'i, str>>, value: &Spanned<DeValue<'i>>) -> Option<Value<'i>> {
    let text = scalar(value.get_ref())?;
    Some(Value { name: name.clone(), text, at: value.span() })
}

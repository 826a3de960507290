//! What one place says of the limits: the options, the variables, a settings file, the defaults.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::Deserialize;
use storekit::{Age, ByteSize, WrittenSize};
use toolkit::amount::{Amount, Setting};
use toolkit::background;
use toolkit::settings::Settings;
use toolkit::tables::{Count, ENGINES, EngineLimit, Limit, Order, StoreLimits};

use super::scoped::{self, Scoped};
use super::{Limits, LimitsError, TRASH_GRACE};

/// What one place says. `None`: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Limits` says what each is")]
pub struct Layer {
    pub max_images: Option<Setting<Count>>,
    pub max_disks: Option<Setting<Count>>,
    pub max_per_image: Option<Setting<Count>>,
    pub keep_last: Option<Setting<Count>>,
    pub max_size: Option<Setting<WrittenSize>>,
    pub high: Option<Setting<Amount>>,
    pub low: Option<Setting<Amount>>,
    pub max_age: Option<Setting<Age>>,
    pub packages_max_size: Option<Setting<WrittenSize>>,
    pub packages_max_age: Option<Setting<Age>>,
    pub models_max_age: Option<Setting<Age>>,
    pub min_free: Option<Setting<Amount>>,
    pub reserved: Option<Setting<Amount>>,
    pub order: Option<Order>,
    pub trash_grace: Option<Age>,
    /// Whether what fills the store has it collected in the background.
    pub background: Option<bool>,
    /// Limits of some things.
    pub scoped: Vec<Limit>,
    /// What goes of engines' own stores; only to be listed.
    pub engine: Vec<EngineLimit>,
}

/// Of the table `[pkgcache]`, what is a limit. All else in it is pkgcache's to judge.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, expecting = "settings, such as `max-size = \"10GB\"`")]
struct PackageTable {
    max_size: Option<Setting<WrittenSize>>,
    max_age: Option<Setting<Age>>,
    models_max_age: Option<Setting<Age>>,
}

/// Where a limit comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An option of the command.
    Option,
    /// A variable.
    Variable,
    /// A settings file.
    File(String),
    /// Nobody said anything.
    Default,
    /// Nobody said anything, and the value is that of another limit.
    As(&'static str),
}

impl Display for Source {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Option => to.write_str("option"),
            Self::Variable => to.write_str("variable"),
            Self::File(path) => to.write_str(path),
            Self::Default => to.write_str("default"),
            Self::As(other) => write!(to, "as {other}"),
        }
    }
}

/// All places that say something, the nearest first; the last are the defaults.
#[derive(Clone, Debug)]
pub struct Layers(Vec<(Source, Layer)>);

/// A limit as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The option's name; of a limit of some things, which those are and what it limits.
    pub name: String,
    /// Its value; `none` where there is no such limit.
    pub value: String,
    /// Where it comes from.
    pub from: Source,
}

impl Layers {
    /// What the options say, then the variables, then the settings files; last the defaults.
    ///
    /// # Errors
    /// Wrong values in any of them.
    pub fn load(settings: &Settings, options: Layer) -> Result<Self, LimitsError> {
        let mut layers = vec![(Source::Option, options), (Source::Variable, Layer::of_variables(settings)?)];
        let own = settings.values_of_each::<StoreLimits>("gcctl")?;
        let of_packages = settings.values_of_each::<PackageTable>("pkgcache")?;
        super::check_tables(settings)?;
        for path in settings.files() {
            let find_own = own.iter().find(|(it, _)| *it == path).map(|(_, table)| Layer::of_table(table));
            let mut layer = find_own.unwrap_or_default();
            if let Some((_, table)) = of_packages.iter().find(|(it, _)| *it == path) {
                layer.packages_max_size = table.max_size;
                layer.packages_max_age = table.max_age;
                layer.models_max_age = table.models_max_age;
            }
            layers.push((Source::File(path.to_string()), layer));
        }
        layers.push((Source::Default, Layer::default_limits()));
        let layers = Self(layers);
        layers.limits().check()?;
        Ok(layers)
    }

    /// The limits that hold.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let all = self.0.iter().fold(Layer::default(), |near, (_, far)| near.or(far.clone()));
        Limits { once: self.once(), ..all.limits() }
    }

    /// The limits that options say, and those that are as these.
    fn once(&self) -> BTreeSet<String> {
        let mut once = BTreeSet::new();
        for row in self.rows() {
            let is_once = match row.from {
                Source::Option => true,
                Source::As(other) => once.contains(other),
                _ => false,
            };
            once.extend(is_once.then_some(row.name));
        }
        once
    }

    /// Whether what fills the store has it collected in the background.
    #[must_use]
    pub fn background(&self) -> bool {
        self.0.iter().find_map(|(_, layer)| layer.background).unwrap_or(true)
    }

    /// Each limit, the value that counts and where it comes from.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> =
            NAMED.iter().map(|(name, value)| self.row((*name).to_owned(), value)).collect();
        derive(&mut rows);
        let all = self.0.iter().fold(Layer::default(), |near, (_, far)| near.or(far.clone())).scoped;
        for limit in all {
            let of = &limit.of;
            let within = |layer: &Layer| layer.scoped.iter().find(|it| it.of == *of).cloned();
            for (name, value) in SCOPED {
                let value = |layer: &Layer| within(layer).and_then(|limit| value(&limit));
                rows.extend(self.found(&value).map(|(from, value)| Row {
                    name: format!("{of}: {name}"),
                    value,
                    from,
                }));
            }
        }
        rows.extend(self.rows_of_engines());
        rows
    }

    /// What files say of engines. Each that names what stays counts, of other values the nearest.
    fn rows_of_engines(&self) -> impl Iterator<Item = Row> {
        ENGINES.iter().flat_map(move |engine| {
            let row = move |part: &str, (from, value)| Row {
                name: format!("engine={engine}: {part}"),
                value,
                from,
            };
            let values = ENGINE_PARTS.iter().filter_map(move |(part, value)| {
                let within = |layer: &Layer| last(&layer.engine, engine, value);
                self.found(&within).map(|found| row(part, found))
            });
            let keeps = self.0.iter().filter_map(move |(from, layer)| {
                let own = layer.engine.iter().filter(|it| it.is_of(engine));
                let names: Vec<_> = own.flat_map(|it| &it.keep).map(|name| name.get_ref().as_str()).collect();
                (!names.is_empty()).then(|| row("keep", (from.clone(), names.join(", "))))
            });
            values.chain(keeps)
        })
    }

    fn row(&self, name: String, value: &dyn Fn(&Layer) -> Option<String>) -> Row {
        let none = || (Source::Default, toolkit::amount::NONE.to_owned());
        let (from, value) = self.found(value).unwrap_or_else(none);
        Row { name, value, from }
    }

    fn found(&self, value: &dyn Fn(&Layer) -> Option<String>) -> Option<(Source, String)> {
        self.0.iter().find_map(|(from, layer)| Some((from.clone(), value(layer)?)))
    }
}

/// Limits that are as another one where there is none of their own, each after the one that it
/// looks at.
const DERIVED: [(&str, &str); 4] = [
    ("high", "max-size"),
    ("low", "high"),
    ("packages-max-age", "max-age"),
    ("models-max-age", "packages-max-age"),
];

/// What stays where nobody says how much is reserved.
const RESERVED: &str = "the newest of each name";

/// Gives limits that nobody has set the value that they have then.
fn derive(rows: &mut [Row]) {
    let is_none = |value: &str| value == toolkit::amount::NONE;
    for (name, other) in DERIVED {
        let value = rows.iter().find(|row| row.name == other).map(|row| row.value.clone());
        let own = rows.iter_mut().find(|row| row.name == name && is_none(&row.value));
        if let (Some(row), Some(value)) = (own, value.filter(|value| !is_none(value))) {
            (row.value, row.from) = (value, Source::As(other));
        }
    }
    if let Some(row) = rows.iter_mut().find(|row| row.name == "reserved" && is_none(&row.value)) {
        RESERVED.clone_into(&mut row.value);
    }
}

fn text<T: Display>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn size(value: Option<Setting<WrittenSize>>) -> Option<String> {
    value.map(|it| it.value().map_or_else(|| toolkit::amount::NONE.to_owned(), |it| it.size.to_string()))
}

fn age(value: Option<Setting<Age>>) -> Option<String> {
    value.map(|it| {
        it.value().map_or_else(|| toolkit::amount::NONE.to_owned(), |it| toolkit::words::span(it.0.as_secs()))
    })
}

type Shown<T> = (&'static str, fn(&T) -> Option<String>);

/// Each limit, and what a layer says of it.
const NAMED: [Shown<Layer>; 16] = [
    ("max-size", |layer| size(layer.max_size)),
    ("high", |layer| text(layer.high)),
    ("low", |layer| text(layer.low)),
    ("min-free", |layer| text(layer.min_free)),
    ("reserved", |layer| text(layer.reserved)),
    ("max-age", |layer| age(layer.max_age)),
    ("max-images", |layer| text(layer.max_images)),
    ("max-disks", |layer| text(layer.max_disks)),
    ("max-per-image", |layer| text(layer.max_per_image)),
    ("keep-last", |layer| text(layer.keep_last)),
    ("packages-max-size", |layer| size(layer.packages_max_size)),
    ("packages-max-age", |layer| age(layer.packages_max_age)),
    ("models-max-age", |layer| age(layer.models_max_age)),
    ("order", |layer| text(layer.order)),
    ("trash-grace", |layer| age(layer.trash_grace.map(Setting::Is))),
    ("background", |layer| layer.background.map(|it| if it { "yes" } else { "no" }.to_owned())),
];

/// The parts of a limit of some things.
const SCOPED: [Shown<Limit>; 4] = [
    ("max-size", |limit| size(limit.max_size)),
    ("max-age", |limit| age(limit.max_age)),
    ("max-entries", |limit| text(limit.max_entries)),
    ("keep-last", |limit| text(limit.keep_last)),
];

/// The parts of what is said of an engine, but for the names that stay.
const ENGINE_PARTS: [Shown<EngineLimit>; 3] = [
    ("max-age", |limit| age(limit.max_age.map(Setting::Is))),
    ("max-size", |limit| text(limit.max_size)),
    ("named", |limit| limit.named.map(|it| if it { "yes" } else { "no" }.to_owned())),
];

/// What the last of these limits says that is about this engine and says it.
pub(crate) fn last<T>(
    limits: &[EngineLimit],
    engine: &str,
    value: impl Fn(&EngineLimit) -> Option<T>,
) -> Option<T> {
    limits.iter().rev().filter(|limit| limit.is_of(engine)).find_map(value)
}

impl Layer {
    /// What holds where nobody says anything: the file system keeps some room, and what goes can be
    /// brought back for a day. Nothing goes for its age, and there is no limit of what the store
    /// holds.
    fn default_limits() -> Self {
        Self {
            min_free: Some(Setting::Is(MIN_FREE)),
            order: Some(Order::Lru),
            trash_grace: Some(TRASH_GRACE),
            background: Some(true),
            ..Self::default()
        }
    }

    fn of_variables(settings: &Settings) -> Result<Self, LimitsError> {
        Ok(Self {
            max_images: variable(settings, "LARDER_MAX_IMAGES")?,
            max_disks: variable(settings, "LARDER_MAX_DISKS")?,
            max_per_image: variable(settings, "LARDER_MAX_PER_IMAGE")?,
            keep_last: variable(settings, "LARDER_KEEP_LAST")?,
            max_size: variable(settings, "LARDER_MAX_SIZE")?,
            high: variable(settings, "LARDER_HIGH")?,
            low: variable(settings, "LARDER_LOW")?,
            max_age: variable(settings, "LARDER_MAX_AGE")?,
            packages_max_size: variable(settings, "LARDER_PKGCACHE_MAX_SIZE")?,
            packages_max_age: variable(settings, "LARDER_PKGCACHE_MAX_AGE")?,
            models_max_age: variable(settings, "LARDER_PKGCACHE_MODELS_MAX_AGE")?,
            min_free: variable(settings, "LARDER_MIN_FREE")?,
            reserved: variable(settings, "LARDER_RESERVED")?,
            order: variable(settings, "LARDER_ORDER")?,
            trash_grace: variable(settings, "LARDER_TRASH_GRACE")?,
            background: settings
                .environment()
                .get(background::VARIABLE)
                .map(|it| !background::is_off(Some(it))),
            scoped: Vec::new(),
            engine: Vec::new(),
        })
    }

    fn of_table(table: &StoreLimits) -> Self {
        Self {
            max_images: table.max_images,
            max_disks: table.max_disks,
            max_per_image: table.max_per_image,
            keep_last: table.keep_last,
            max_size: table.max_size,
            high: table.high,
            low: table.low,
            max_age: table.max_age,
            packages_max_size: None,
            packages_max_age: None,
            models_max_age: None,
            min_free: table.min_free,
            reserved: table.reserved,
            order: table.order,
            trash_grace: table.trash_grace,
            background: table.background,
            // Two of the same things in one file are one: the later says what counts.
            scoped: table.limit.iter().cloned().fold(Vec::new(), |all, it| scoped::together(vec![it], all)),
            engine: table.engine.clone(),
        }
    }

    /// These; the others where these say nothing.
    #[must_use]
    pub fn or(self, far: Self) -> Self {
        Self {
            max_images: self.max_images.or(far.max_images),
            max_disks: self.max_disks.or(far.max_disks),
            max_per_image: self.max_per_image.or(far.max_per_image),
            keep_last: self.keep_last.or(far.keep_last),
            max_size: self.max_size.or(far.max_size),
            high: self.high.or(far.high),
            low: self.low.or(far.low),
            max_age: self.max_age.or(far.max_age),
            packages_max_size: self.packages_max_size.or(far.packages_max_size),
            packages_max_age: self.packages_max_age.or(far.packages_max_age),
            models_max_age: self.models_max_age.or(far.models_max_age),
            min_free: self.min_free.or(far.min_free),
            reserved: self.reserved.or(far.reserved),
            order: self.order.or(far.order),
            trash_grace: self.trash_grace.or(far.trash_grace),
            background: self.background.or(far.background),
            scoped: scoped::together(self.scoped, far.scoped),
            engine: [far.engine, self.engine].concat(),
        }
    }

    /// The limits, where nobody else says anything.
    #[must_use]
    pub fn limits(self) -> Limits {
        fn is<T>(setting: Option<Setting<T>>) -> Option<T> {
            setting.and_then(Setting::value)
        }
        let count = |setting: Option<Setting<Count>>| is(setting).map(|count| count.0);
        Limits {
            once: BTreeSet::new(),
            max_images: count(self.max_images),
            max_disks: count(self.max_disks),
            max_per_image: count(self.max_per_image),
            keep_last: count(self.keep_last),
            max_size: is(self.max_size),
            high: is(self.high),
            low: is(self.low),
            max_age: is(self.max_age),
            packages_max_size: is(self.packages_max_size),
            packages_max_age: is(self.packages_max_age),
            models_max_age: is(self.models_max_age),
            min_free: is(self.min_free),
            min_free_by_default: self.min_free == Some(Setting::Is(MIN_FREE)),
            reserved: is(self.reserved),
            order: self.order.unwrap_or_default(),
            trash_grace: self.trash_grace,
            scoped: self.scoped.into_iter().map(Scoped::from).collect(),
        }
    }
}

/// So much of the file system stays free where nobody says anything.
const MIN_FREE: Amount = Amount::Share { hundredths: 500, at_most: Some(ByteSize(10_000_000_000)) };

fn variable<T: std::str::FromStr<Err: Display>>(
    settings: &Settings,
    name: &'static str,
) -> Result<Option<T>, LimitsError> {
    let text = settings.environment().get(name);
    let wrong = |error: T::Err| LimitsError::Variable { name, reason: error.to_string() };
    text.map(str::parse).transpose().map_err(wrong)
}

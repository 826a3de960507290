//! The packages of all lists together.

use std::collections::BTreeMap;

use storekit::Checksum;

use super::version::compare;
use crate::ecosystem::BadIndex;
use crate::ecosystem::apt::Packing;
use crate::ecosystem::packing::Lines;

/// No more packages are read.
const MOST: usize = 1_000_000;

/// A package in one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// What has to be there: each of these, by one of its alternatives.
    pub(super) depends: Vec<Vec<Relation>>,
    pub(super) recommends: Vec<Vec<Relation>>,
    /// What it is, too, by name, and in which version where that is said.
    provides: Vec<Relation>,
    /// Where the cache has it.
    pub(super) target: String,
    pub(super) checksum: Option<Checksum>,
}

/// `name (>= 1.0)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) name: String,
    /// How the version has to be to the other: `>=`.
    bound: Option<(String, String)>,
}

/// All packages, by their names, and by what they provide.
#[derive(Debug, Default)]
pub(super) struct Universe {
    packages: Vec<Package>,
    named: BTreeMap<String, Vec<usize>>,
    provided: BTreeMap<String, Vec<usize>>,
}

impl Relation {
    /// As [`Package`]'s fields write it; `None` for nothing.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let name_end = text.find([' ', '(', '[', '<']).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(name_end)?;
        // `python3:any` is a python3.
        let name = name.split(':').next().filter(|name| !name.is_empty())?.to_owned();
        let bound = rest.split_once('(').and_then(|(_, rest)| rest.split_once(')')).and_then(|(bound, _)| {
            let bound = bound.trim();
            let cut = bound.find(|c| !"<>=".contains(c))?;
            let (sign, version) = bound.split_at_checked(cut)?;
            Some((sign.to_owned(), version.trim().to_owned()))
        });
        Some(Self { name, bound })
    }

    /// In exactly this version.
    pub(super) fn exactly(name: &str, version: &str) -> Self {
        let bound = (!version.is_empty()).then(|| ("=".to_owned(), version.to_owned()));
        Self { name: name.to_owned(), bound }
    }

    fn is_met_by(&self, version: &str) -> bool {
        let Some((sign, wanted)) = &self.bound else { return true };
        let order = compare(version, wanted);
        match sign.as_str() {
            "<<" => order.is_lt(),
            "<=" | "<" => order.is_le(),
            "=" => order.is_eq(),
            ">=" | ">" => order.is_ge(),
            ">>" => order.is_gt(),
            _ => false,
        }
    }
}

fn alternatives(text: &str) -> impl Iterator<Item = Vec<Relation>> {
    let clauses =
        text.split(',').map(|clause| clause.split('|').filter_map(Relation::parse).collect::<Vec<_>>());
    clauses.filter(|clause| !clause.is_empty())
}

impl Universe {
    pub(super) fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Adds what a list has. `at` says where the cache has a file.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(super) fn read(
        &mut self,
        packing: Packing,
        document: &[u8],
        at: impl Fn(&str) -> String,
    ) -> Result<(), BadIndex> {
        let mut document = document;
        let mut lines = Lines::new(packing, &mut document)?;
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        while let Some(line) = lines.next()? {
            if line.trim_ascii().is_empty() {
                self.add(&std::mem::take(&mut fields), &at)?;
                continue;
            }
            let text = String::from_utf8_lossy(line);
            // What goes on is a description.
            if let Some((name, value)) = text.split_once(':').filter(|_| !text.starts_with([' ', '\t'])) {
                fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        self.add(&fields, &at)
    }

    fn add(
        &mut self,
        fields: &BTreeMap<String, String>,
        at: &impl Fn(&str) -> String,
    ) -> Result<(), BadIndex> {
        let get = |name: &str| fields.get(name).map_or("", String::as_str);
        let (name, file) = (get("package"), get("filename"));
        if name.is_empty() || file.is_empty() {
            return Ok(());
        }
        if self.packages.len() >= MOST {
            return Err(BadIndex::TooLarge("the lists have more packages than any repository"));
        }
        let checksum = Checksum::from_hex("sha256", get("sha256"));
        let package = Package {
            name: name.to_owned(),
            version: get("version").to_owned(),
            depends: alternatives(get("pre-depends")).chain(alternatives(get("depends"))).collect(),
            recommends: alternatives(get("recommends")).collect(),
            provides: alternatives(get("provides")).flatten().collect(),
            target: at(file.trim_start_matches("./")),
            checksum: checksum.or_else(|| Checksum::from_hex("sha512", get("sha512"))),
        };
        let place = self.packages.len();
        self.named.entry(package.name.clone()).or_default().push(place);
        for provided in &package.provides {
            self.provided.entry(provided.name.clone()).or_default().push(place);
        }
        self.packages.push(package);
        Ok(())
    }

    pub(super) fn package(&self, place: usize) -> Option<&Package> {
        self.packages.get(place)
    }

    /// The package that meets a relation: the newest of that name, else the first that provides it.
    pub(super) fn find(&self, relation: &Relation) -> Option<usize> {
        let named = self.named.get(&relation.name).map_or(&[][..], Vec::as_slice);
        let of_name = named.iter().filter_map(|place| Some((*place, self.package(*place)?)));
        let met = of_name.filter(|(_, package)| relation.is_met_by(&package.version));
        let newest = met.max_by(|(_, one), (_, other)| compare(&one.version, &other.version));
        newest.map(|(place, _)| place).or_else(|| self.provider(relation))
    }

    fn provider(&self, relation: &Relation) -> Option<usize> {
        let providers = self.provided.get(&relation.name)?;
        providers.iter().copied().find(|place| {
            let own = self.package(*place).map_or(&[][..], |it| it.provides.as_slice());
            let versions = own.iter().filter(|it| it.name == relation.name).map(|it| it.bound.as_ref());
            // What is provided without a version meets no bound.
            let mut versions = versions.map(|bound| match bound {
                Some((_, version)) => relation.is_met_by(version),
                None => relation.bound.is_none(),
            });
            versions.any(|met| met)
        })
    }

    /// Whether a chosen package meets the relation.
    pub(super) fn meets(&self, place: usize, relation: &Relation) -> bool {
        let Some(package) = self.package(place) else { return false };
        (package.name == relation.name && relation.is_met_by(&package.version))
            || self.provided.get(&relation.name).is_some_and(|it| it.contains(&place))
    }
}

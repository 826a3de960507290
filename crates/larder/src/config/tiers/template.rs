//! `registry.example/team/{image}:v{version}`: how the name of an image is made.

use std::fmt;
use std::ops::Range;

use globset::GlobBuilder;

use super::place;
use super::version::Version;
use crate::config::Fault;
use crate::config::names;
use toolkit::nearest::question;

/// What stands in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Image,
    Branch,
    Sha,
    Sha7,
    Version,
    Minor,
    Major,
    Date,
}

const FIELDS: [(&str, Field); 8] = [
    ("image", Field::Image),
    ("branch", Field::Branch),
    ("sha", Field::Sha),
    ("sha7", Field::Sha7),
    ("version", Field::Version),
    ("minor", Field::Minor),
    ("major", Field::Major),
    ("date", Field::Date),
];

impl Field {
    fn name(self) -> &'static str {
        FIELDS.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    /// Whether it is there only where a version is built.
    fn is_of_version(self) -> bool {
        matches!(self, Self::Version | Self::Minor | Self::Major)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// How the name of an image is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// What the fields stand for in one build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The image's name in larder.toml.
    pub image: String,
    /// The branch that is built.
    pub branch: Option<String>,
    /// The commit, 40 or 64 hex digits.
    pub sha: Option<String>,
    /// The version of the git tag that is built.
    pub version: Option<Version>,
    /// Today, `YYYYMMDD`.
    pub date: String,
}

/// Why a name cannot be made in this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There is nothing that the field stands for.
    Absent(&'static str),
    /// A pre-release has no such name.
    Prerelease,
    /// It is made, and no engine would take it.
    Invalid(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent("branch") => f.write_str("no branch is built"),
            Self::Absent("sha" | "sha7") => f.write_str("there is no git commit"),
            Self::Absent(_) => f.write_str("no version is built"),
            Self::Prerelease => f.write_str("a pre-release has its full version alone"),
            Self::Invalid(name) => write!(f, "`{name}` is not a valid image name"),
        }
    }
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// No such field; the name in braces.
    Unknown(String),
    /// A brace that is not closed.
    Open,
    /// No registry stands at the beginning.
    NoRegistry,
    /// No tag stands at the end.
    NoTag,
    /// It is no image's name, whatever the fields stand for.
    NoName,
}

/// The same, where it stands in larder.toml.
pub(crate) fn fault_of(wrong: &Wrong, text: &str, at: Range<usize>) -> Fault {
    let fields = FIELDS.map(|(name, _)| format!("`{{{name}}}`")).join(", ");
    let (message, help) = match wrong {
        Wrong::Unknown(name) => {
            let meant = question(name, FIELDS.iter().map(|(name, _)| *name));
            (format!("nothing stands for `{{{name}}}`"), format!("{meant}there are {fields}"))
        }
        Wrong::Open => ("a brace is not closed".to_owned(), format!("there are {fields}")),
        Wrong::NoRegistry => (
            format!("`{text}` names no registry"),
            "write where it goes in full: `registry.example/team/{image}:dev`, `docker.io/team/{image}:dev`"
                .to_owned(),
        ),
        Wrong::NoTag => (
            format!("`{text}` has no tag"),
            "write it in full: `…/{image}:latest`, if that is meant".to_owned(),
        ),
        Wrong::NoName => (
            format!("`{text}` can be no image's name"),
            "names are lower case before the tag, as in `registry.example:5000/team/{image}:v{version}`"
                .to_owned(),
        ),
    };
    Fault::new(message, at, help)
}

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// [`Wrong`], where it could be no image's name in a registry.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or(Wrong::Open)?;
            let field = FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
            let field = field.ok_or_else(|| Wrong::Unknown(name.to_owned()))?;
            parts.extend([Part::Text(before.to_owned()), Part::Field(field)]);
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self { text: text.to_owned(), parts };
        let sample = Values {
            image: "app".to_owned(),
            branch: Some("main".to_owned()),
            sha: Some("0".repeat(40)),
            version: Version::of_git_tag("1.2.3"),
            date: "20260102".to_owned(),
        };
        let Ok(name) = template.fill(&sample) else { return Err(Wrong::NoName) };
        let host = name.split_once('/').map(|(host, _)| host);
        if !host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost") {
            return Err(Wrong::NoRegistry);
        }
        if names::has_tag(&name) { Ok(template) } else { Err(Wrong::NoTag) }
    }

    /// The image's name in this build.
    ///
    /// # Errors
    /// [`Unfit`], where there is none.
    pub fn fill(&self, values: &Values) -> Result<String, Unfit> {
        let name = self.parts.iter().map(|part| part.fill(values)).collect::<Result<String, _>>()?;
        if names::is_name(&name) { Ok(name) } else { Err(Unfit::Invalid(name)) }
    }

    /// Whether the full version is in it.
    pub(crate) fn has_version(&self) -> bool {
        self.parts.contains(&Part::Field(Field::Version))
    }

    /// Whether a build without a version has no such name.
    pub(crate) fn depends_on_version(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(field) if field.is_of_version()))
    }

    /// Whether the other one is in the same repository.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        repository(&self.text) == repository(&other.text)
    }

    /// Whether the name of one of the images may be in one of the repositories, which are spelt as
    /// [`place::repository`] does. What a branch or a commit stands for may be anything.
    pub(crate) fn may_be_in(&self, repositories: &[String], images: &[&str]) -> bool {
        images.iter().any(|image| {
            let text = |part: &Part| match part {
                Part::Text(text) => text.clone(),
                Part::Field(Field::Image) => (*image).to_owned(),
                Part::Field(_) => "*".to_owned(),
            };
            let name: String = self.parts.iter().map(text).collect();
            let pattern = place::repository(repository(&name));
            let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
            // A name that is no pattern is refused elsewhere.
            glob.is_ok_and(|glob| {
                let matcher = glob.compile_matcher();
                repositories.iter().any(|repository| matcher.is_match(repository))
            })
        })
    }

    /// The version that an image's name in a registry has where this one has `{version}`.
    pub(crate) fn version_in(&self, name: &str, values: &Values) -> Option<Version> {
        let at = self.parts.iter().position(|part| *part == Part::Field(Field::Version))?;
        let around =
            |parts: &[Part]| parts.iter().map(|part| part.fill(values)).collect::<Result<String, _>>();
        let before = around(self.parts.get(..at)?).ok()?;
        let behind = around(self.parts.get(at + 1..)?).ok()?;
        Version::of_image_tag(name.strip_prefix(before.as_str())?.strip_suffix(behind.as_str())?)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What stands before the tag.
pub(crate) fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

impl Part {
    fn fill(&self, values: &Values) -> Result<String, Unfit> {
        let field = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::Field(field) => *field,
        };
        let version = values.version.as_ref();
        let is_short = matches!(field, Field::Minor | Field::Major);
        if is_short && version.is_some_and(Version::is_prerelease) {
            return Err(Unfit::Prerelease);
        }
        let value = match field {
            Field::Image => Some(values.image.clone()),
            Field::Branch => values.branch.as_deref().map(as_tag),
            Field::Sha => values.sha.clone(),
            Field::Sha7 => values.sha.as_deref().and_then(|sha| sha.get(..7)).map(str::to_owned),
            Field::Version => version.map(Version::to_string),
            Field::Minor => version.map(Version::minor),
            Field::Major => version.map(Version::major),
            Field::Date => Some(values.date.clone()),
        };
        let name = if field.is_of_version() { "version" } else { field.name() };
        value.filter(|value| !value.is_empty()).ok_or(Unfit::Absent(name))
    }
}

/// A branch's name as a tag, or a part of one: what a tag cannot have becomes a hyphen.
fn as_tag(branch: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let text: String = branch.chars().map(fits).collect();
    text.trim_start_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tag: &str, branch: &str) -> Values {
        Values {
            image: "app".to_owned(),
            branch: Some(branch.to_owned()).filter(|branch| !branch.is_empty()),
            sha: Some("860c1904a1ce19322e91ac35af1ab07466440c37".to_owned()),
            version: Version::of_git_tag(tag),
            date: "20200110".to_owned(),
        }
    }

    /// The tags that docker/metadata-action's manual lists for these rules, and what its users
    /// complain of.
    #[test]
    fn the_tags_of_the_rule_table() {
        let cases: [(&str, &str, &str, Result<&str, Unfit>); 27] = [
            ("v{version}", "v1.2.3", "", Ok("v1.2.3")),
            ("{version}", "v1.2.3", "", Ok("1.2.3")),
            ("{minor}", "v1.2.3", "", Ok("1.2")),
            ("{major}", "v1.2.3", "", Ok("1")),
            ("{version}", "v2.0.8-beta.67", "", Ok("2.0.8-beta.67")),
            ("{minor}", "v2.0.8-beta.67", "", Err(Unfit::Prerelease)),
            ("{major}", "v2.0.8-rc2", "", Err(Unfit::Prerelease)),
            ("{version}", "v1.2.3+build.5", "", Ok("1.2.3-build.5")),
            ("{minor}", "v1.2.3+build.5", "", Ok("1.2")),
            ("{major}", "v0.1.0", "", Ok("0")),
            ("{version}", "app/v1.0.0", "", Ok("1.0.0")),
            ("{version}", "", "master", Err(Unfit::Absent("version"))),
            ("{minor}", "nightly", "", Err(Unfit::Absent("version"))),
            // As `type=semver` has it: three numbers. PEP 440 would read `v3` as 3.0.0, and then
            // `20260102` among the tags of a registry, too.
            ("{version}", "v3", "", Err(Unfit::Absent("version"))),
            ("{major}", "v3", "", Err(Unfit::Absent("version"))),
            ("{version}", "v1.2", "", Err(Unfit::Absent("version"))),
            ("{minor}", "v1.2", "", Err(Unfit::Absent("version"))),
            ("{version}", "release-5.0.0", "", Err(Unfit::Absent("version"))),
            ("{branch}", "", "master", Ok("master")),
            ("{branch}", "", "my/branch", Ok("my-branch")),
            ("{branch}", "", "feature/#12_a b", Ok("feature--12_a-b")),
            ("{branch}", "", "-.hidden", Ok("hidden")),
            ("{branch}", "v1.2.3", "", Err(Unfit::Absent("branch"))),
            ("sha-{sha7}", "", "master", Ok("sha-860c190")),
            ("{sha}", "", "master", Ok("860c1904a1ce19322e91ac35af1ab07466440c37")),
            ("{date}-{sha7}", "", "master", Ok("20200110-860c190")),
            ("dev-{branch}-{date}", "", "dev", Ok("dev-dev-20200110")),
        ];
        for (tag, git_tag, branch, expected) in cases {
            let template = Template::parse(&format!("r.example/{{image}}:{tag}")).expect("a template");
            let expected = expected.map(|tag| format!("r.example/app:{tag}"));
            assert_eq!(template.fill(&values(git_tag, branch)), expected, "{tag} of {git_tag}{branch}");
        }
    }

    #[test]
    fn a_template_must_be_a_name_in_a_registry() {
        for (text, wrong) in [
            ("r.example/{image}:{version", Wrong::Open),
            ("r.example/{img}:1", Wrong::Unknown("img".into())),
            ("team/{image}:1", Wrong::NoRegistry),
            ("{image}:1", Wrong::NoRegistry),
            ("r.example:5000/{image}", Wrong::NoTag),
            ("r.example/Team/{image}:1", Wrong::NoName),
            ("r.example/{image}:a b", Wrong::NoName),
            ("r.example:65536/{image}:1", Wrong::NoName),
            ("", Wrong::NoName),
        ] {
            assert_eq!(Template::parse(text), Err(wrong), "{text}");
        }
        assert!(Template::parse("localhost:5000/{image}:x").is_ok());
    }

    #[test]
    fn a_name_that_no_engine_takes_is_not_made() {
        let template = Template::parse("r.example/{image}:1").expect("a template");
        let capitals = Values { image: "App".into(), ..values("", "x") };
        assert_eq!(template.fill(&capitals), Err(Unfit::Invalid("r.example/App:1".into())));
        let long = Template::parse("r.example/{image}:{branch}").expect("a template");
        assert!(matches!(long.fill(&values("", &"x".repeat(200))), Err(Unfit::Invalid(_))));
    }

    #[test]
    fn a_name_may_be_in_a_repository() {
        let may_be = |text: &str, repository: &str| {
            let template = Template::parse(text).expect("a template");
            template.may_be_in(&[repository.to_owned()], &["app", "cache"])
        };
        assert!(may_be("r.example/team/{image}:dev", "r.example/team/cache"));
        assert!(may_be("r.example:443/{branch}/cache:dev", "r.example/team/cache"));
        assert!(may_be("127.0.0.1:5000/cache:{sha}", "localhost:5000/cache"));
        assert!(!may_be("r.example/team/{image}:dev", "r.example/team/other"));
        assert!(!may_be("r.example/{branch}:dev", "r.example/team/cache"));
    }

    #[test]
    fn versions_are_read_back() {
        let template = Template::parse("r.example/{image}:{image}-v{version}").expect("a template");
        let version = |name: &str| {
            let version = template.version_in(name, &values("v1.2.3", ""));
            version.map(|it| it.to_string())
        };
        assert_eq!(version("r.example/app:app-v1.10.0").as_deref(), Some("1.10.0"));
        assert_eq!(version("r.example/app:app-v1.10"), None);
        assert_eq!(version("r.example/app:latest"), None);
        assert_eq!(version("r.example/other:app-v1.0.0"), None);
    }
}

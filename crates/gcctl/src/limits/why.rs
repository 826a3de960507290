//! Which limit a thing goes for.

use std::borrow::Cow;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which limit a thing goes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Unused for longer than the age limit.
    MaxAge,
    /// More images than the limit.
    MaxImages,
    /// More disks than the limit.
    MaxDisks,
    /// More images of one name than the limit.
    MaxPerImage,
    /// A package, unused for longer than the age limit of packages.
    PackagesMaxAge,
    /// A model, unused for longer than the age limit of models.
    ModelsMaxAge,
    /// More bytes of packages than the limit.
    PackagesMaxSize,
    /// More bytes than the limit.
    MaxSize,
    /// Too few bytes free on the file system.
    MinFree,
    /// In the trash for longer than its grace.
    TrashGrace,
    /// A limit of some things: the one at this place, from 0.
    Limit(u8, Part),
    /// It was named.
    Named,
    /// All is to go.
    Clean,
    /// The image that it refers to goes.
    Subject,
}

/// What of a limit of some things is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Unused for longer.
    Age,
    /// More of them.
    Entries,
    /// More bytes of them.
    Size,
}

/// All but those of some things, as they are written.
const WORDS: [(Why, &str); 13] = [
    (Why::MaxAge, "max-age"),
    (Why::MaxImages, "max-images"),
    (Why::MaxDisks, "max-disks"),
    (Why::MaxPerImage, "max-per-image"),
    (Why::PackagesMaxAge, "packages-max-age"),
    (Why::ModelsMaxAge, "models-max-age"),
    (Why::PackagesMaxSize, "packages-max-size"),
    (Why::MaxSize, "max-size"),
    (Why::MinFree, "min-free"),
    (Why::TrashGrace, "trash-grace"),
    (Why::Named, "named"),
    (Why::Clean, "clean"),
    (Why::Subject, "subject"),
];

const PARTS: [(Part, &str); 3] =
    [(Part::Age, "max-age"), (Part::Entries, "max-entries"), (Part::Size, "max-size")];

impl Part {
    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        PARTS.iter().find(|(it, _)| *it == self).map_or("", |(_, word)| word)
    }
}

impl Why {
    /// Whether it is a limit of bytes: packages that go for it are lost for good, and so are images
    /// that go for one of the whole store.
    #[must_use]
    pub fn is_of_bytes(self) -> bool {
        matches!(self, Self::MaxSize | Self::MinFree | Self::PackagesMaxSize | Self::Limit(_, Part::Size))
    }

    /// Whether it is a limit that is set, and not what somebody named.
    #[must_use]
    pub fn is_a_limit(self) -> bool {
        !matches!(self, Self::TrashGrace | Self::Named | Self::Clean | Self::Subject)
    }

    /// Whether an image that goes for it is deleted at once.
    #[must_use]
    pub fn leaves_no_trash(self) -> bool {
        matches!(self, Self::MaxSize | Self::MinFree)
    }

    /// As it is written in JSON and, for a limit, as the option; `limit-2:max-size` is of the
    /// second limit of the list.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        if let Self::Limit(place, part) = self {
            return format!("limit-{}:{}", u16::from(place) + 1, part.word()).into();
        }
        WORDS.iter().find(|(why, _)| *why == self).map_or("", |(_, word)| word).into()
    }

    fn read(text: &str) -> Option<Self> {
        if let Some((place, word)) = text.strip_prefix("limit-").and_then(|rest| rest.split_once(':')) {
            let part = PARTS.iter().find(|(_, it)| *it == word)?.0;
            return Some(Self::Limit(place.parse::<u8>().ok()?.checked_sub(1)?, part));
        }
        Some(WORDS.iter().find(|(_, word)| *word == text)?.0)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.name())
    }
}

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for Why {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        Self::read(&text).ok_or_else(|| D::Error::custom(format!("`{}` is not a limit", text.escape_debug())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_as_it_is_written() {
        let of_some = [Why::Limit(0, Part::Age), Why::Limit(254, Part::Entries), Why::Limit(2, Part::Size)];
        for why in WORDS.iter().map(|(why, _)| *why).chain(of_some) {
            let text = serde_json::to_string(&why).unwrap();
            assert_eq!(serde_json::from_str::<Why>(&text).unwrap(), why, "{text}");
        }
        assert_eq!(Why::Limit(1, Part::Size).name(), "limit-2:max-size");
        for wrong in ["limit-0:max-size", "limit-1:max-images", "limit-300:max-size", "limit-:max-size", ""] {
            serde_json::from_str::<Why>(&format!("\"{wrong}\"")).unwrap_err();
        }
    }
}

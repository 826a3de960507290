//! One index for the images of a table with `platforms`: under a key of its own, which is made of
//! theirs, and under the names that they have in common.
//!
//! It is made when the last of them is done, by `imgtar index`, which copies nothing, and only
//! where the store has all of them: an image that was built and not saved may be something else
//! than its key says. Limit: where only some of the platforms are baked, nothing is done.

use std::fmt::Write;
use std::time::Instant;

use serde::Deserialize;

use super::baker::Baker;
use super::order::pieces::Piece;
use super::stock::from;
use crate::config::Project;
use crate::config::image::Image;
use crate::process::runner::{RunError, succeeded};
use crate::report::{Baked, State};

/// The images of one `platforms`, and the place among those that are told after which the index is.
pub(super) struct Group {
    /// The name without the platform.
    name: String,
    /// The names that all of them were given.
    tags: Vec<String>,
    /// Where they stand in the plan, in the order of the file.
    members: Vec<usize>,
}

impl Group {
    /// Whether it is complete when this image was told.
    pub(super) fn ends_with(&self, at: usize) -> bool {
        self.members.last() == Some(&at)
    }
}

/// As much of what `imgtar index --json` prints as matters here.
#[derive(Deserialize)]
struct Indexed {
    saved: bool,
}

impl Baker<'_> {
    /// Those of which every image is baked and kept.
    pub(super) fn groups(&self, project: &Project, pieces: &[Piece]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        if self.options.prove || self.options.no_image_cache {
            return groups;
        }
        for image in project.images.iter().filter(|image| image.name != image.plain) {
            if groups.iter().any(|group| group.name == image.plain) {
                continue;
            }
            let all = || project.images.iter().filter(|other| other.plain == image.plain);
            let kept = |one: &Image| {
                pieces.iter().position(|piece| *piece.name() == one.name && one.use_image_cache)
            };
            if let Some(members) = all().map(kept).collect() {
                let is_common = |tag: &&String| all().all(|other| other.plain_tags.contains(tag));
                let tags = image.plain_tags.iter().filter(is_common).cloned().collect();
                groups.push(Group { name: image.plain.clone(), tags, members });
            }
        }
        groups
    }

    /// Brings the index up to date. `None` where the store has not got all of its images.
    ///
    /// # Errors
    /// An interruption. That it cannot be made is a warning: every image is there.
    pub(super) fn bake_index(&self, group: &Group) -> Result<Option<Baked>, RunError> {
        let started = Instant::now();
        let done = |at: &usize| self.done.get(*at)?.1.get().filter(|baked| is_sure(baked));
        let Some(done) = group.members.iter().map(done).collect::<Option<Vec<&Baked>>>() else {
            return Ok(None);
        };
        let listed = |baked: &&Baked| Some((baked.platform.clone()?, baked.key.clone()?));
        let Some(listed) = done.iter().map(listed).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let key = key_of(&listed);
        let state = if self.options.check {
            Some(self.foretold(&key, &done))
        } else {
            self.joined(group, &key, &listed)?
        };
        Ok(state.map(|state| Baked {
            wave: 1 + done.iter().map(|baked| baked.wave).max().unwrap_or_default(),
            needs: done.iter().map(|baked| baked.image.clone()).collect(),
            from: match state {
                State::Hit => Some("store"),
                State::Built => Some("index"),
                _ => None,
            },
            saved: matches!(state, State::Hit | State::Built),
            tags: group.tags.clone(),
            platforms: listed.into_iter().map(|(platform, _)| platform).collect(),
            reason: (state != State::Hit).then(|| why(&done)),
            seconds: started.elapsed().as_secs_f64(),
            ..Baked::new(&group.name, state, Some(key))
        }))
    }

    /// In a check: whether it is there, of the images that are.
    fn foretold(&self, key: &str, done: &[&Baked]) -> State {
        let is_there = done.iter().all(|baked| baked.state == State::Hit) && self.stored(key).is_some();
        if is_there { State::Hit } else { State::Stale }
    }

    /// Has the index made, where the store has not got it as it has to be.
    fn joined(
        &self,
        group: &Group,
        key: &str,
        listed: &[(String, String)],
    ) -> Result<Option<State>, RunError> {
        let cmd = self.stock.imgtar("index", key).args(["--json", "--force"]);
        let cmd = cmd.args(listed.iter().map(|(platform, key)| format!("{key}={platform}")));
        let cmd = group.tags.iter().fold(cmd, |cmd, tag| cmd.flag("--name", tag));
        // On a hit, git has nothing to say.
        let commit = if self.stored(key).is_none() { self.commit() } else { None };
        let cmd = from(cmd, &group.name, self.options.host.as_deref(), commit.as_deref());
        let cmd = if commit.is_some() { self.of_project(cmd) } else { cmd };
        let made =
            self.runner.capture(&cmd).and_then(|(status, said)| succeeded(&cmd, status).map(|()| said));
        match made {
            Ok(said) => {
                let saved = serde_json::from_slice::<Indexed>(&said).is_ok_and(|indexed| indexed.saved);
                if saved {
                    self.send(key);
                } else {
                    self.offer(key);
                }
                Ok(Some(if saved { State::Built } else { State::Hit }))
            }
            Err(error) if error.is_interruption() => Err(error),
            Err(error) => {
                let name = &group.name;
                self.runner.tell(&format!("warning: {name}: there is no index of its platforms: {error}"));
                Ok(None)
            }
        }
    }
}

/// Whether the image's key says what the store has, or is to have.
fn is_sure(baked: &Baked) -> bool {
    baked.saved || baked.state == State::Stale
}

/// Why it was made, or would be.
fn why(done: &[&Baked]) -> String {
    match done.iter().find(|baked| baked.state != State::Hit) {
        Some(baked) if baked.state == State::Stale => format!("`{}` would be built", baked.image),
        Some(baked) => format!("`{}` was built", baked.image),
        None => "there is none of these images as they are".to_owned(),
    }
}

/// The key of the index: the BLAKE3 digest of a line for each platform, with the key of its image.
fn key_of(listed: &[(String, String)]) -> String {
    let mut text = "larder index 1\n".to_owned();
    for (platform, key) in listed {
        // A string has no way to fail.
        let _ = writeln!(text, "{platform} {key}");
    }
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_of_the_images_keys_in_their_order() {
        let images = [("linux/amd64", "aa"), ("linux/arm64", "bb")];
        let images = images.map(|(platform, key)| (platform.to_owned(), key.to_owned()));
        let key = key_of(&images);
        let text = b"larder index 1\nlinux/amd64 aa\nlinux/arm64 bb\n";
        assert_eq!(key, blake3::hash(text).to_hex().to_string());
        let [amd, arm] = images;
        assert_ne!(key, key_of(&[arm, amd]));
    }
}

//! The word that was probably meant.

/// The word that is at most two letters, and about half of its own, from the other.
#[must_use]
pub fn nearest<'a>(to: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let to = to.to_lowercase();
    let far = |word: &str| distance(&to, &word.to_lowercase());
    let best = words.into_iter().min_by_key(|word| far(word))?;
    (far(best) <= 2 && far(best) * 2 <= best.len() + 1).then_some(best)
}

/// The same as a question, with a blank behind it; empty where no word is near.
#[must_use]
pub fn question<'a>(to: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    nearest(to, words).map(|word| format!("is `{word}` meant? ")).unwrap_or_default()
}

/// Of what a reader of TOML says, ``unknown field `x`, expected one of `a`, `b` ``: what is nearest
/// to x.
#[must_use]
pub fn nearest_expected(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().filter(|_| message.starts_with("unknown "))?;
    nearest(unknown, quoted)
}

/// How many letters are to be added, removed or replaced to come from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let first = (0..=to.chars().count()).collect::<Vec<_>>();
    let last = from.chars().enumerate().fold(first, |above, (row, letter)| {
        let pairs = to.chars().zip(above.iter().zip(above.iter().skip(1)));
        let next = pairs.scan(row + 1, |left, (other, (corner, up))| {
            *left = (corner + usize::from(letter != other)).min(up + 1).min(*left + 1);
            Some(*left)
        });
        std::iter::once(row + 1).chain(next).collect()
    });
    last.last().copied().unwrap_or_default()
}

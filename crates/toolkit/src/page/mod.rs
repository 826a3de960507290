//! A page for people: one HTML document that is whole in itself. No script, no file beside it,
//! nothing from the network; it follows the reader's light or dark, and fits a narrow screen.
//!
//! Every name on a page comes from anybody, and is written by [`escaped`] alone. What is written
//! is well-formed XML, too.

mod chart;
mod text;

use std::fmt::Write;

pub use chart::{Series, amounts, shares};
pub use text::{cut, escaped};

/// The style of what stands here; a page's own comes after it.
const STYLE: &str = include_str!("page.css");

/// The width, in pixels, up to which a screen is narrow: pictures of class `narrow` are shown there
/// instead of those of class `wide`.
pub const NARROW: u32 = 640;

/// A page that is being written.
#[derive(Debug)]
pub struct Page(String);

/// A column of a table: its heading, and how its cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    heading: &'static str,
    class: &'static str,
}

impl Column {
    /// Of names: a long one is broken anywhere.
    #[must_use]
    pub fn name(heading: &'static str) -> Self {
        Self { heading, class: "name" }
    }

    /// Of words.
    #[must_use]
    pub fn words(heading: &'static str) -> Self {
        Self { heading, class: "" }
    }

    /// Of numbers.
    #[must_use]
    pub fn number(heading: &'static str) -> Self {
        Self { heading, class: "number" }
    }
}

impl Page {
    /// Begins one with this title, and rules of CSS beside those of this module.
    #[must_use]
    pub fn new(title: &str, style: &str) -> Self {
        let mut text = String::with_capacity(64 << 10);
        // A string takes all that is written to it.
        let _ = write!(
            text,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n",
            escaped(title)
        );
        Self(text)
    }

    /// The whole.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push_str("</main>\n</body>\n</html>\n");
        self.0
    }

    /// Adds what is HTML already.
    pub fn html(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// The heading of the page.
    pub fn title(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h1>{}</h1>", escaped(text));
    }

    /// The heading of a part.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h2>{}</h2>", escaped(text));
    }

    /// The heading of a part of a part.
    pub fn small_heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h3>{}</h3>", escaped(text));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p>{}</p>", escaped(text));
    }

    /// A paragraph that stands out.
    pub fn bold(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p><b>{}</b></p>", escaped(text));
    }

    /// A paragraph that steps back.
    pub fn soft(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p class=\"soft\">{}</p>", escaped(text));
    }

    /// Figures at a glance: what each is of, and its value.
    pub fn facts<'a>(&mut self, facts: impl IntoIterator<Item = (&'a str, String)>) {
        self.0.push_str("<ul class=\"facts\">\n");
        for (what, value) in facts {
            let _ = writeln!(self.0, "<li><b>{}</b>{}</li>", escaped(&value), escaped(what));
        }
        self.0.push_str("</ul>\n");
    }

    /// What the colours of a picture mean, by their classes.
    pub fn key<'a>(&mut self, colours: impl IntoIterator<Item = (&'a str, String)>) {
        self.0.push_str("<ul class=\"key\">\n");
        for (class, text) in colours {
            let _ = writeln!(self.0, "<li class=\"{class}\">{}</li>", escaped(&text));
        }
        self.0.push_str("</ul>\n");
    }

    /// A text to be copied, as it stands.
    pub fn copyable(&mut self, text: &str) {
        // It can be reached by the keyboard, and moved to its side there.
        let lines: Vec<_> = text.lines().map(escaped).collect();
        let _ = writeln!(self.0, "<pre tabindex=\"0\">{}</pre>", lines.join("\n"));
    }

    /// What is hidden until it is asked for; `inside` writes it.
    pub fn folded(&mut self, summary: &str, inside: impl FnOnce(&mut Self)) {
        let _ = writeln!(self.0, "<details><summary>{}</summary>", escaped(summary));
        inside(self);
        self.0.push_str("</details>\n");
    }

    /// A table; where it has no rows, `none` is said instead.
    pub fn list<const N: usize>(&mut self, columns: &[Column; N], rows: &[[String; N]], none: &str) {
        if rows.is_empty() {
            self.soft(none);
        }
        self.table(columns, rows);
    }

    /// A table; nothing where it has no rows.
    pub fn table<const N: usize>(&mut self, columns: &[Column; N], rows: &[[String; N]]) {
        if rows.is_empty() {
            return;
        }
        self.0.push_str("<div class=\"scroll\" tabindex=\"0\"><table>\n<tr>");
        for Column { heading, class } in columns {
            let _ = write!(self.0, "<th{}>{}</th>", classed(class), escaped(heading));
        }
        self.0.push_str("</tr>\n");
        for row in rows {
            self.0.push_str("<tr>");
            for (cell, Column { class, .. }) in row.iter().zip(columns) {
                let _ = write!(self.0, "<td{}>{}</td>", classed(class), escaped(cell));
            }
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</table></div>\n");
    }
}

fn classed(class: &str) -> String {
    if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_places() {
        let hostile = "</b><script>\"'";
        let mut page = Page::new(hostile, "b { color: red; }\n");
        page.facts([(hostile, hostile.to_owned())]);
        page.key([("one", hostile.to_owned())]);
        page.copyable(hostile);
        page.folded(hostile, |page| page.text(hostile));
        page.table(&[Column::name("a"), Column::number("b")], &[[hostile.to_owned(), "1".to_owned()]]);
        let html = page.finish();
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(html.matches("&lt;/b&gt;&lt;script&gt;&quot;&#39;").count(), 8);
        assert!(html.contains("b { color: red; }\n</style>"));
        assert!(html.contains("<td class=\"number\">1</td></tr>"));
    }

    #[test]
    fn lines_to_be_copied_stay_lines() {
        let mut page = Page::new("", "");
        page.copyable("a=1\nb\u{1b}=2\n");
        assert!(page.finish().contains("<pre tabindex=\"0\">a=1\nb\\u{1b}=2</pre>"));
    }

    #[test]
    fn where_there_is_nothing_that_is_said() {
        let mut page = Page::new("", "");
        page.list(&[Column::words("a")], &[], "None.");
        let html = page.finish();
        assert!(html.contains("None.") && !html.contains("<table>"), "{html}");
    }

    #[test]
    fn the_style_knows_the_same_narrow_screens() {
        assert!(STYLE.contains(&format!("(max-width: {NARROW}px)")));
    }
}

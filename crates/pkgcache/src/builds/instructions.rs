//! The instructions of a Dockerfile, as far as its text alone says where each begins and ends.
//!
//! Source: the Dockerfile reference (parser directives, line continuations, here-documents).

/// An instruction: its lines, with those of its here-documents.
pub(super) struct Instruction<'a> {
    pub(super) lines: Vec<&'a str>,
}

impl Instruction<'_> {
    pub(super) fn text(&self) -> String {
        self.lines.concat()
    }
}

/// The first word of a line, with what stands before and behind it.
pub(super) fn keyword(line: &str) -> (&str, &str, &str) {
    let start = line.len() - line.trim_start().len();
    let (indent, rest) = line.split_at(start);
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    (indent, word, behind)
}

/// The instructions, comments and empty lines of a Dockerfile: all its bytes, in order.
pub(super) fn instructions(text: &str) -> Vec<Instruction<'_>> {
    let escape = escape_of(text);
    let mut lines = text.split_inclusive('\n').peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let mut taken = vec![line];
        if !is_comment(line) && !line.trim().is_empty() {
            let mut last = line;
            while goes_on(last, escape) {
                let Some(next) = lines.next() else { break };
                taken.push(next);
                // A comment inside does not end it.
                if !is_comment(next) {
                    last = next;
                }
            }
            for end in here_documents(&taken.concat()) {
                for next in lines.by_ref() {
                    taken.push(next);
                    let plain = next.trim_end_matches(['\r', '\n']);
                    if end.matches(plain) {
                        break;
                    }
                }
            }
        }
        found.push(Instruction { lines: taken });
    }
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn goes_on(line: &str, escape: char) -> bool {
    line.trim_end().ends_with(escape)
}

/// The character that continues lines: a directive at the very top may set another.
fn escape_of(text: &str) -> char {
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix('#') else { break };
        let Some((name, value)) = rest.split_once('=') else { break };
        if name.trim().eq_ignore_ascii_case("escape") {
            return if value.trim() == "`" { '`' } else { '\\' };
        }
    }
    '\\'
}

/// The line that ends a here-document.
struct HereEnd {
    word: String,
    tabs: bool,
}

impl HereEnd {
    fn matches(&self, line: &str) -> bool {
        let line = if self.tabs { line.trim_start_matches('\t') } else { line };
        line == self.word
    }
}

/// The here-documents that an instruction begins.
fn here_documents(text: &str) -> Vec<HereEnd> {
    let (_, word, _) = keyword(text);
    if !["RUN", "COPY", "ADD"].iter().any(|it| word.eq_ignore_ascii_case(it)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("<<") {
        rest = behind;
        // `<<<` is something else.
        if let Some(behind) = behind.strip_prefix('<') {
            rest = behind;
            continue;
        }
        let (tabs, behind) = behind.strip_prefix('-').map_or((false, behind), |behind| (true, behind));
        let (quote, behind) = match behind.chars().next() {
            Some(quote @ ('"' | '\'')) => (Some(quote), behind.get(1..).unwrap_or_default()),
            _ => (None, behind),
        };
        let ends = |c: char| quote.map_or_else(|| !(c.is_alphanumeric() || c == '_'), |quote| c == quote);
        let word: String = behind.chars().take_while(|c| !ends(*c)).collect();
        let digits = word.chars().all(|c| c.is_ascii_digit());
        if !word.is_empty() && !digits {
            found.push(HereEnd { word, tabs });
        }
    }
    found
}

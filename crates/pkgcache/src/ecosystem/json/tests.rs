//! Known answers, and `serde_json` as the reference.

use std::io::Read;

use proptest::prelude::*;
use serde_json::Value as Reference;

use super::*;

/// Drops members of this name, sees all that is called `seen`, and adds members to objects that are
/// called `more`.
#[derive(Default)]
struct Test {
    out: Vec<u8>,
    seen: Vec<String>,
}

impl Editor for Test {
    fn fate(&mut self, path: &Path) -> Fate {
        match path.last() {
            "dropped" => Fate::Dropped,
            "seen" => Fate::Seen,
            _ => Fate::Copied,
        }
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        self.seen.push(format!("{path} {value:?}"));
        Ok((value == Value::Text("old")).then(|| quoted("new\n")))
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        Ok((path.last() == "more").then(|| r#""added":1"#.to_owned()))
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// Gives a few bytes at a time.
struct Pieces<'t>(&'t [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(self.1).min(buffer.len());
        self.0.read(buffer.get_mut(..count).unwrap())
    }
}

fn run(text: &[u8], piece: usize) -> Result<Test, BadIndex> {
    let mut edited = Test::default();
    edit(&mut Pieces(text, piece), &mut edited).map(|()| edited)
}

#[track_caller]
fn becomes(text: &str, expected: &str) {
    for piece in [1, 3, 1 << 20] {
        let edited = run(text.as_bytes(), piece).unwrap();
        assert_eq!(String::from_utf8(edited.out).unwrap(), expected);
    }
}

#[track_caller]
fn refused(text: &str, reason: &str) {
    match run(text.as_bytes(), 1 << 20) {
        Err(error) => assert!(error.to_string().contains(reason), "{error}"),
        Ok(_) => panic!("{text} was accepted"),
    }
}

#[test]
fn what_is_not_asked_for_stays_byte_for_byte() {
    let text = " {\"a\" : [ 1e5,-0.0 , \"\\u00e9\\/é\",\r\n{}, [] ,null], \"b\":{\"a\":true,\"\":false}}\t\n";
    becomes(text, text);
    becomes("[]", "[]");
    becomes(" \"x\" ", " \"x\" ");
    becomes("12", "12");
}

#[test]
fn members_are_left_out_with_their_commas() {
    becomes(r#"{"dropped":1,"a":2}"#, r#"{"a":2}"#);
    becomes(r#"{"a":2 , "dropped":{"x":["]"]}}"#, r#"{"a":2}"#);
    becomes(r#"{"a":2, "dropped":[], "b":3}"#, r#"{"a":2, "b":3}"#);
    becomes(r#"{"dropped":"x"}"#, "{}");
    becomes(r#"{ "dropped":"x" , "a":{"dropped":0} }"#, r#"{  "a":{} }"#);
}

#[test]
fn values_are_seen_and_replaced() {
    let text =
        r#"{"a":[{"seen":"o\u006cd"},{"seen":"\u006fther"}],"seen":{"seen":17},"dropped":{"seen":"old"}}"#;
    let edited = run(text.as_bytes(), 2).unwrap();
    let expected = r#"{"a":[{"seen":"new\n"},{"seen":"\u006fther"}],"seen":{"seen":17}}"#;
    assert_eq!(String::from_utf8(edited.out).unwrap(), expected);
    let seen = [
        "a.[].seen Text(\"old\")",
        "a.[].seen Text(\"other\")",
        "seen Object",
        "seen.seen Number(\"17\")",
        "dropped.seen Text(\"old\")",
    ];
    assert_eq!(edited.seen, seen);
}

#[test]
fn members_are_added_at_the_end() {
    becomes(r#"{"more":{ }}"#, r#"{"more":{"added":1 }}"#);
    becomes(r#"{"more":{"a":1}}"#, r#"{"more":{"a":1,"added":1}}"#);
    becomes(r#"{"more":{"dropped":1}}"#, r#"{"more":{"added":1}}"#);
    becomes(r#"{"dropped":{"more":{"a":1}}}"#, "{}");
}

#[test]
fn what_does_not_follow_the_grammar_is_refused() {
    for text in ["", " ", "{", "[1,", "[1,]", "{,}", "{\"a\":1,}", "[1 2]", "{1:2}", "{\"a\" 1}", "{\"a\"}"] {
        refused(text, "not valid JSON");
    }
    for text in
        ["01", "1.", "-", "1e", ".5", "+1", "NaN", "tru", "nulll", "'a'", "\u{feff}1", "1 1", "// x\n1"]
    {
        refused(text, "not valid JSON");
    }
    for text in ["\"a", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "\"\0\"", "\"\u{1f}\""] {
        refused(text, "not valid JSON");
    }
    refused(r#"{"\ud800":1}"#, "half a character");
    refused(r#"{"seen":"\udc00x"}"#, "half a character");
    refused(r#"{"a":1,"b":2,"\u0061":3}"#, "the key \"a\" is there twice");
}

#[test]
fn one_key_may_be_in_many_objects() {
    let text = r#"[{"a":{"a":{"a":1}}},{"a":1},{"b":{"a":1},"a":2}]"#;
    becomes(text, text);
}

#[test]
fn what_is_larger_than_any_index_is_refused() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    becomes(&nested(128), &nested(128));
    refused(&nested(129), "nested deeper");
    refused(&"{\"a\":".repeat(10_000), "nested deeper");
    refused(&format!("\"{}\"", "a".repeat((16 << 20) + 1)), "too long");
    refused(&format!("\"{}\"", "\\n".repeat(3 << 20)), "too long");
    refused(&format!("{{\"{}\":1}}", "a".repeat(70_000)), "too long");
    refused(&format!("{{\"seen\":\"{}\"}}", "a".repeat(2 << 20)), "too long");
    refused(&format!("[1,{}1]", " ".repeat(70_000)), "too long");
    refused(&"1".repeat(2000), "too long");
    let many: Vec<String> = (0..400_001).map(|at| format!("\"{at}\":1")).collect();
    refused(&format!("{{{}}}", many.join(",")), "more than 400,000 keys");
}

fn document() -> impl Strategy<Value = Reference> {
    let leaf = prop_oneof![
        Just(Reference::Null),
        any::<bool>().prop_map(Reference::from),
        any::<i64>().prop_map(Reference::from),
        any::<f64>().prop_map(Reference::from),
        any::<String>().prop_map(Reference::from),
    ];
    let key = prop_oneof![Just("dropped".to_owned()), Just("seen".to_owned()), any::<String>()];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reference::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|members| Reference::Object(members.into_iter().collect())),
        ]
    })
}

fn without_dropped(value: &mut Reference) {
    match value {
        Reference::Object(members) => {
            members.remove("dropped");
            members.values_mut().for_each(without_dropped);
        }
        Reference::Array(elements) => elements.iter_mut().for_each(without_dropped),
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_document_loses_what_is_left_out_and_nothing_else(
        document in document(), pretty: bool, piece in 1_usize..50,
    ) {
        let write = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
        let text = write(&document).unwrap();
        let out = run(&text, piece).unwrap().out;
        let mut expected = serde_json::from_slice(&text).unwrap();
        without_dropped(&mut expected);
        prop_assert_eq!(serde_json::from_slice::<Reference>(&out).unwrap(), expected);
    }

    #[test]
    fn a_damaged_document_is_judged_as_the_reference_judges_it(
        document in document(), at: prop::sample::Index, byte: u8, insert: bool,
    ) {
        let mut text = serde_json::to_vec(&document).unwrap();
        let at = at.index(text.len());
        if insert { text.insert(at, byte) } else { text[at] = byte }
        // Stricter than the reference about keys; as strict in everything else but numbers that are
        // out of range and halves of characters.
        match (run(&text, 1 << 16), serde_json::from_slice::<Reference>(&text)) {
            (Ok(_), Err(error)) => {
                let known = ["out of range", "surrogate", "unexpected end of hex escape"];
                prop_assert!(known.iter().any(|known| error.to_string().contains(known)), "{}", error);
            }
            (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("twice"), "{}", error),
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, piece in 1_usize..9) {
        let _ = run(&bytes, piece);
    }

    #[test]
    fn no_text_of_its_characters_makes_it_panic(text in "[\\[\\]{},: \"\\\\ud8a0-9.eE+truefalsn]{0,40}") {
        let _ = run(text.as_bytes(), 7);
    }
}

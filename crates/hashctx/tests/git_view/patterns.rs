//! Random ignore files: patterns that hit, and patterns that are odd.

use crate::random::Random;

/// Names that files and folders have, and patterns are made of.
pub(crate) const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"ab",
    b"abc",
    b"foo",
    b"foobar",
    b"bar",
    b"x",
    b"a.o",
    b"b.log",
    b"build",
    b"A",
    b"-",
    b"]",
    b"^",
    b"a b",
    b"foo ",
    b" foo",
    b"#x",
    b"!x",
    b"[a]",
    b"{a,b}",
    b"a,b",
    b"b\\x",
    b"\\",
    b"*",
    b"?",
    b"a*",
    b"\xff\xfe",
    b"\xc3\xbc",
    b".hid",
    b"..a",
    b"a\nb",
    b"a\tb",
    b"1",
    b".gitx",
    b"\r",
];

const ODD: &[&[u8]] = &[
    b"!",
    b"!!a",
    b"/",
    b"//",
    b"///a",
    b"!/",
    b"**",
    b"***",
    b"**/",
    b"/**",
    b"/**/",
    b"**/**",
    b"*/",
    b"*/*",
    b"/*",
    b"!*",
    b"!*/",
    b"!**/",
    b"foo**/x",
    b"foo**/",
    b"a**",
    b"/a**",
    b"**a",
    b"a/**",
    b"a/**/b",
    b"**/a/**",
    b"*/**",
    b"**/*",
    b"a**b",
    b"*a*",
    b"\\",
    b"a\\",
    b"\\a",
    b"\\*",
    b"\\!x",
    b"\\#x",
    b"#x",
    b"# x",
    b" #x",
    b"foo\\ ",
    b"foo ",
    b"foo \\ ",
    b"foo\\  ",
    b" foo",
    b"[",
    b"[a",
    b"[]",
    b"[]]",
    b"[!]",
    b"[!]]",
    b"[^a]",
    b"[!a]*",
    b"[a-]",
    b"[-a]",
    b"[a-c]",
    b"[c-a]",
    b"[\\]]",
    b"[\\a-c]",
    b"[a-\\c]",
    b"[[:alpha:]]",
    b"[[:alpha:]b]*",
    b"[^[:alpha:]]",
    b"[[:foo:]]",
    b"[[:alpha:]",
    b"[[:alpha]]",
    b"[[:]",
    b"[[:]]",
    b"[[:space:]]",
    b"*[[:digit:][:upper:]]",
    b"[a/b]",
    b"a[/]b",
    b"{a,b}",
    b"{a,b}/**",
    b"*.{o,log}",
    b"a\0b",
    b"a\r",
    b"\r",
    b"a \r",
    b"a\\\r",
    b"./a",
    b"../a",
    b"a/./b",
    b"a//b",
    b"/a/",
    b"a/b/",
    b"*\\",
    b"**\\/a",
    b"\\**/a",
    b"?",
    b"??",
    b"/?",
    b"?*",
    b"*?",
    b"*.o",
    b"*.*",
    b".*",
    b"!.*",
    b".gitignore",
    b"!.gitignore",
    b"[\xff]*",
    b"\xff*",
    b"?\xfe",
    b"[[:punct:]]",
    b"[[:blank:]a]",
    b"[[:cntrl:]]*",
    b"[a-c-e]",
    b"[[a-c]]",
    b"[*-?]",
    b"*\xbc",
    b"[!-~]",
    b"**/**/a",
    b"a/**/**/b",
    b"*/a",
    b"*/*/",
    b"a/*",
    b"/a/*/",
];

const LETTERS: &[u8] = b"aabbfox./*?[]!^-\\{},* #1\xff";

/// The content of an ignore file.
pub(crate) fn ignore_file(random: &mut Random) -> Vec<u8> {
    let mut content = Vec::new();
    if random.percent(4) {
        content.extend_from_slice(b"\xef\xbb\xbf");
    }
    let end: &[u8] = if random.percent(8) { b"\r\n" } else { b"\n" };
    for _ in 0..=random.below(6) {
        content.extend(line(random));
        content.extend_from_slice(end);
    }
    if random.percent(15) {
        content.truncate(content.len() - end.len());
    }
    content
}

/// One line, most often a pattern.
pub(crate) fn line(random: &mut Random) -> Vec<u8> {
    let mut line = match random.below(100) {
        0..=2 => b"".to_vec(),
        3..=4 => b"# comment".to_vec(),
        5..=19 => random.pick(ODD).to_vec(),
        20..=24 => letters(random),
        _ => path(random),
    };
    if random.percent(25) {
        line.insert(0, b'!');
    }
    if random.percent(5) {
        line.extend_from_slice(random.pick(&[&b" "[..], b"  ", b"\\ ", b" \\", b"\\", b"\t"]));
    }
    line.retain(|&byte| byte != b'\n');
    line
}

fn letters(random: &mut Random) -> Vec<u8> {
    (0..=random.below(8)).map(|_| LETTERS[random.below(LETTERS.len())]).collect()
}

fn path(random: &mut Random) -> Vec<u8> {
    let mut path = Vec::new();
    if random.percent(20) {
        path.extend_from_slice(random.pick(&[&b"/"[..], b"**/", b"/**/", b"*/"]));
    }
    for part in 0..=random.below(3) {
        if part > 0 {
            path.extend_from_slice(random.pick(&[&b"/"[..], b"/", b"/", b"/**/", b"/*/", b"**/", b"\\/"]));
        }
        path.extend(part_of_path(random));
    }
    if random.percent(25) {
        path.extend_from_slice(random.pick(&[&b"/"[..], b"/", b"/*", b"/**", b"**", b"*"]));
    }
    path
}

/// A name, some of its bytes replaced by what may match them.
fn part_of_path(random: &mut Random) -> Vec<u8> {
    let name = random.pick(NAMES);
    if random.percent(45) {
        return name.to_vec();
    }
    let mut part = Vec::new();
    for &byte in name {
        match random.below(12) {
            0 => part.push(b'?'),
            1 | 2 => part.push(b'*'),
            3 => part.extend_from_slice(b"**"),
            4 => part.extend_from_slice(&[b'[', byte, b']']),
            5 => part.extend_from_slice(random.pick(&[
                &b"[!z]"[..],
                b"[^z]",
                b"[a-f]",
                b"[[:alnum:]]",
                b"[!a-c]",
            ])),
            6 => part.extend_from_slice(&[b'\\', byte]),
            _ => part.push(byte),
        }
    }
    part
}

//! What the commands print: tables for people, JSON lines for programs.

use std::io::{self, Write};

use imgtar::engine::load::Loaded;
use imgtar::image::commit::Imported;
use imgtar::image::show::{ArtifactInfo, ImageInfo, Info, LayerInfo, Row};
use imgtar::image::verify::Report;
use serde::Serialize;
use storekit::{ByteSize, Descriptor, Digest, Key, printable};
use toolkit::output;
use toolkit::words::count;
use toolkit::{Common, Output};

/// Where data and messages go.
pub(crate) struct View<'a> {
    pub(crate) common: &'a Common,
}

/// What `import`, `save` and `pack` print with `--json`.
#[derive(Serialize)]
struct SavedLine<'a> {
    key: &'a Key,
    /// `false` where an earlier save stands.
    saved: bool,
    digest: Digest,
    media_type: &'a str,
    ids: &'a [Digest],
    names: &'a [String],
    layers_written: usize,
    layers_reused: usize,
    /// How an engine gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    artifacts: &'a [ArtifactInfo],
}

/// What `verify --json` prints at its end.
#[derive(Serialize)]
struct VerifiedLine {
    images: usize,
    blobs: usize,
    problems: usize,
}

impl View<'_> {
    /// A message for people.
    pub(crate) fn say(&self, message: &str) {
        if !self.common.quiet {
            output::say(message);
        }
    }

    /// Something is not as it should be, and the command goes on.
    pub(crate) fn warn(&self, message: &str) {
        if !self.common.quiet {
            output::warn(message);
        }
    }

    pub(crate) fn imported(&self, key: &Key, imported: &Imported) -> miette::Result<()> {
        for absent in &imported.absent {
            self.warn(&format!(
                "the archive lists `{}` and does not hold it; it was left out",
                absent.digest
            ));
        }
        self.refused(&imported.bad_names);
        for (name, digest) in &imported.misnamed {
            let name = printable(name);
            self.warn(&format!("the config `{name}` is not named by its digest; its image is `{digest}`"));
        }
        let Imported { saved, written, reused, .. } = *imported;
        let what = what_is_stored(imported);
        self.say(&if saved && imported.ids.is_empty() {
            format!("saved {key}: {what}")
        } else if saved {
            let new = count(written, "new layer");
            format!("saved {key}: {what}, {new}, {reused} stored already")
        } else {
            format!("{key} is stored already: {what}; it stays (`--force` would replace it)")
        });
        if let Some(way) = imported.way.as_ref().filter(|_| self.common.verbose) {
            self.say(&format!("by {way}"));
        }
        if self.common.json {
            let descriptor = &imported.entry.descriptor;
            crate::cli::run::out(Output::report().json(&SavedLine {
                key,
                saved,
                digest: descriptor.digest,
                media_type: &descriptor.media_type,
                ids: &imported.ids,
                names: &imported.entry.names,
                layers_written: written,
                layers_reused: reused,
                way: imported.way.as_deref(),
                artifacts: &imported.artifacts,
            }))?;
        }
        Ok(())
    }

    pub(crate) fn loaded(&self, loaded: &[Loaded]) -> io::Result<()> {
        for one in loaded {
            let how = how_loaded(one);
            let names = if one.names.is_empty() { "no name".to_owned() } else { one.names.join(" ") };
            self.say(&format!("{}: image {} {how}, {names}", one.key, one.id.short()));
            self.refused(&one.bad_names);
            if self.common.json {
                Output::report().json(one)?;
            }
        }
        Ok(())
    }

    fn refused(&self, names: &[String]) {
        for name in names {
            let name: String = name.escape_debug().take(100).collect();
            self.warn(&format!("`{name}` is not a valid image name; skipped"));
        }
    }

    pub(crate) fn rows(&self, rows: &[Row]) -> io::Result<()> {
        if self.common.json {
            let mut out = Output::listing();
            return rows.iter().try_for_each(|row| out.json(row));
        }
        let mut table =
            vec![["KEY", "IMAGE", "PLATFORM", "SIZE", "SAVED", "USED", "NAMES"].map(str::to_owned)];
        table.extend(rows.iter().map(cells));
        Output::listing().write_all(aligned(&table).as_bytes())
    }

    pub(crate) fn info(&self, info: &Info) -> io::Result<()> {
        if self.common.json {
            return Output::listing().json(info);
        }
        Output::listing().write_all(described(info).as_bytes())
    }

    pub(crate) fn report(&self, report: &Report) -> io::Result<()> {
        let mut out = Output::report();
        for problem in &report.problems {
            if self.common.json {
                out.json(problem)?;
            } else {
                writeln!(out, "{}: {}", problem.key, printable(&problem.problem))?;
            }
        }
        let (images, blobs, problems) = (report.images, report.blobs, report.problems.len());
        if self.common.json {
            return out.json(&VerifiedLine { images, blobs, problems });
        }
        let found = if problems == 0 { "all sound".to_owned() } else { count(problems, "problem") };
        self.say(&format!("{}, {}: {found}", count(images, "image"), count(blobs, "blob")));
        Ok(())
    }
}

/// The first image, and how many more; the artifacts; where there is neither, what the key names.
fn what_is_stored(imported: &Imported) -> String {
    let mut parts = Vec::new();
    if let Some((first, more)) = imported.ids.split_first() {
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        parts.push(format!("image {}{more}", first.short()));
    }
    match imported.artifacts.as_slice() {
        [] => {}
        [one] => parts.push(described_artifact(one)),
        several => parts.push(count(several.len(), "artifact")),
    }
    if parts.is_empty() {
        let Descriptor { media_type, digest, .. } = &imported.entry.descriptor;
        parts.push(format!("`{}` {}", printable(media_type), digest.short()));
    }
    parts.join(", ")
}

fn described_artifact(artifact: &ArtifactInfo) -> String {
    let bytes = ByteSize(artifact.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add));
    let files = count(artifact.files.len(), "file");
    format!("artifact `{}`, {files} ({bytes})", printable(&artifact.artifact_type))
}

/// An artifact's type without what all of them have, for a table.
fn short_type(artifact_type: &str) -> &str {
    let short = artifact_type.strip_prefix("application/").unwrap_or(artifact_type);
    let short = short.strip_prefix("vnd.").unwrap_or(short);
    let short = short.split('+').next().unwrap_or(short);
    match short.rsplit_once(".v") {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => short,
    }
}

/// What an engine had and what it was sent.
fn how_loaded(one: &Loaded) -> String {
    if one.present {
        return "was there".to_owned();
    }
    let sent = format!("{} sent ({})", count(one.layers_sent, "layer"), ByteSize(one.bytes_sent));
    let there = if one.layers_skipped == 1 { "was" } else { "were" };
    format!("loaded, {sent}, {} {there} there", one.layers_skipped)
}

fn cells(row: &Row) -> [String; 7] {
    let image = match (&row.problem, &row.disk, row.ids.as_slice()) {
        (Some(_), ..) if row.not_fetched => "not fetched".to_owned(),
        (Some(_), ..) => "damaged".to_owned(),
        // It may be a tar, or anything else that was said to be raw.
        (None, Some(disk), _) if disk.format == "raw" => "raw file".to_owned(),
        (None, Some(disk), _) => format!("{} disk", disk.format),
        (None, None, [id]) => id.short(),
        (None, None, []) => match row.artifact_types.as_slice() {
            [] => "no image".to_owned(),
            [one] => format!("{} artifact", short_type(one)),
            several => format!("{} artifacts", several.len()),
        },
        (None, None, ids) => format!("{} images", ids.len()),
    };
    let mut platforms = row.platforms.clone();
    platforms.dedup();
    [
        row.key.to_string(),
        image,
        platforms.join(","),
        ByteSize(row.bytes).to_string(),
        row.saved.strftime("%Y-%m-%d %H:%M").to_string(),
        row.used.strftime("%Y-%m-%d %H:%M").to_string(),
        row.names.join(" "),
    ]
    .map(|cell| printable(&cell).into_owned())
}

fn aligned(table: &[[String; 7]]) -> String {
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    table.iter().map(line).collect()
}

fn described(info: &Info) -> String {
    let row = &info.row;
    let mut lines = vec![
        format!("key       {}", row.key),
        format!("digest    {}", row.digest),
        format!("type      {}", info.media_type),
        format!("size      {}", ByteSize(row.bytes)),
        format!("saved     {}", row.saved),
        format!("used      {}", row.used),
    ];
    if let Some(disk) = &row.disk {
        lines.push(format!("disk      {}, {}", disk.format, ByteSize(disk.virtual_bytes)));
        lines.push(format!(
            "file      {}, {} stored",
            ByteSize(disk.file_bytes),
            count(disk.chunks, "chunk")
        ));
        lines.extend(disk.backing_file.iter().map(|file| format!("backing   {file} (not stored)")));
        lines.extend(disk.data_file.iter().map(|file| {
            let file = if file.is_empty() { "another file" } else { file };
            format!("data      in {file} (not stored)")
        }));
    }
    lines.extend(row.build_seconds.map(|seconds| format!("build     {seconds} s")));
    lines.extend(row.origin.image.iter().map(|image| format!("made as   {image}")));
    lines.extend(row.origin.host.iter().map(|host| format!("made on   {host}")));
    lines.extend(row.origin.commit.iter().map(|commit| format!("made from {commit}")));
    lines.extend(row.origin.project.iter().map(|project| format!("project   {project}")));
    lines.extend(row.names.iter().map(|name| format!("name      {name}")));
    for image in &info.images {
        lines.extend(described_image(image));
    }
    for artifact in &info.artifacts {
        lines.extend(artifact_lines(artifact));
    }
    let lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
    lines.join("\n") + "\n"
}

fn described_image(image: &ImageInfo) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!("image     {}", image.id),
        format!("manifest  {}", image.manifest),
        format!("platform  {}", image.platform),
    ];
    lines.extend(image.created.iter().map(|created| format!("created   {created}")));
    lines.extend(image.layers.iter().map(described_layer));
    lines
}

fn artifact_lines(artifact: &ArtifactInfo) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!("artifact  {}", artifact.artifact_type),
        format!("manifest  {}", artifact.manifest),
    ];
    lines.extend(artifact.subject.iter().map(|subject| format!("subject   {subject}")));
    lines.extend(artifact.files.iter().map(|file| {
        let name = file.name.as_deref().unwrap_or(&file.media_type);
        format!("file      {}  {} {name}", file.digest, ByteSize(file.bytes))
    }));
    lines
}

fn described_layer(layer: &LayerInfo) -> String {
    let form = layer.media_type.rsplit_once('+').map_or("plain", |(_, form)| form);
    let plain = layer.plain_bytes.map(|bytes| format!(" of {}", ByteSize(bytes))).unwrap_or_default();
    format!("layer     {}  {form} {}{plain}", layer.diff_id, ByteSize(layer.bytes))
}

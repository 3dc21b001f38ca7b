//! The pages of the documentation, taken apart: headings, links, blocks of code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A page of the documentation.
pub(crate) struct Page {
    /// Below the root of the repository.
    pub(crate) path: PathBuf,
    text: String,
}

/// A block of code between fences.
pub(crate) struct Block {
    /// What stands behind the fence: `yaml`, `promql`.
    pub(crate) language: String,
    pub(crate) text: String,
    /// Page and line, for whoever has to mend it.
    pub(crate) place: String,
}

/// All of them: those in the root and those in `docs/`.
pub(crate) fn pages() -> Vec<Page> {
    let in_folder = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let names: BTreeSet<_> = entries.filter(|name| Path::new(name).extension() == Some("md".as_ref())).collect();
        names.into_iter().map(move |name| Page::read(Path::new(folder).join(name))).collect::<Vec<_>>()
    };
    let pages: Vec<_> = ["", "docs"].into_iter().flat_map(in_folder).collect();
    assert!(pages.len() > 10, "{}", pages.len());
    pages
}

/// The blocks of a language on all pages.
pub(crate) fn blocks(language: &str) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|page| page.blocks());
    let blocks: Vec<_> = blocks.filter(|block| block.language == language).collect();
    assert!(!blocks.is_empty(), "no page has a block of {language}");
    blocks
}

impl Page {
    pub(crate) fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The blocks, each without the indentation of its fence.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, Block)> = None;
        for (number, line) in (1..).zip(self.text.lines()) {
            let indentation = line.len() - line.trim_start().len();
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let place = format!("{}, line {number}", self.path.display());
                    open = Some((indentation, Block { language: language.to_owned(), text: String::new(), place }));
                }
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
                (None, Some((indentation, block))) => {
                    block.text += line.get(*indentation..).unwrap_or_default();
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.path.display());
        blocks
    }

    /// What a link can lead to after `#`, as GitHub names it.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        let prose = self.prose();
        for heading in prose.lines().filter(|line| line.starts_with('#')) {
            let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
            let anchor: String = heading.trim_start_matches('#').trim().chars().filter(kept).collect();
            let anchor = anchor.to_lowercase().replace(' ', "-");
            let is_first = anchors.insert(anchor.clone());
            assert!(is_first, "{}: two headings #{anchor}", self.path.display());
        }
        anchors
    }

    /// Where its links lead, those of images as well.
    pub(crate) fn links(&self) -> Vec<String> {
        let prose = self.prose();
        // What stands between backticks is no link; the odd parts of a split are.
        let outside: String = prose.split('`').step_by(2).collect();
        let targets = outside.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0.to_owned());
        targets.collect()
    }

    /// The text without its blocks.
    fn prose(&self) -> String {
        let mut is_inside = false;
        let outside = self.text.lines().filter(|line| {
            let is_fence = line.trim_start().starts_with("```");
            is_inside ^= is_fence;
            !is_inside && !is_fence
        });
        outside.map(|line| format!("{line}\n")).collect()
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

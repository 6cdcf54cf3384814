//! Prompts as token ids.

use super::architecture::TextConfig;
use super::error::{Error, Result};
use std::path::Path;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{Lowercase, NFC, NormalizerWrapper, Sequence as Normalizers};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

/// CLIP's last token, which also fills the texts of Stable Diffusion 1.
pub const END: &str = "<|endoftext|>";
const START: &str = "<|startoftext|>";

/// The ids of a text as the encoder takes them: a first token, the text as far as it fits, a last token, and padding.
pub fn framed(text: &[u32], config: &TextConfig) -> Result<Vec<u32>> {
    let last = u32::try_from(config.vocab_size - 1).unwrap_or(u32::MAX);
    if let Some(id) = text.iter().find(|id| **id > last) {
        let expected = format!("at most {last}, the last one of the vocabulary");
        return Err(Error::Setting { what: "a token id", found: id.to_string(), expected });
    }
    let pad = match &config.pad_token[..] {
        END => last,
        "!" => 0,
        other => {
            let supported = "<|endoftext|> and !";
            return Err(Error::Architecture { what: "pad_token".into(), found: other.into(), supported });
        }
    };
    let length = config.max_position_embeddings;
    let mut ids = vec![last - 1];
    ids.extend(text.iter().take(length - 2));
    ids.push(last);
    ids.resize(length, pad);
    Ok(ids)
}

/// CLIP's tokenizer.
pub struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// From `tokenizer/tokenizer.json`, `tokenizer.json`, or the pair `tokenizer/vocab.json`,
    /// `tokenizer/merges.txt` that most folders have.
    pub fn load(folder: &Path) -> Result<Self> {
        let whole = ["tokenizer/tokenizer.json", "tokenizer.json"].map(|name| folder.join(name));
        let pair = ["tokenizer/vocab.json", "tokenizer/merges.txt"].map(|name| folder.join(name));
        let tokenizer = if let Some(file) = whole.iter().find(|file| file.is_file()) {
            tokenizers::Tokenizer::from_file(file)
        } else if pair.iter().all(|file| file.is_file()) {
            clip(&pair[0].to_string_lossy(), &pair[1].to_string_lossy())
        } else {
            let tried = ["tokenizer/tokenizer.json", "tokenizer.json", "tokenizer/vocab.json with merges.txt"];
            return Err(Error::Missing { folder: folder.into(), tried: tried.map(String::from).to_vec() });
        };
        let mut tokenizer = tokenizer.map_err(|error| Error::Tokenizer(error.to_string()))?;
        // the encoder's length is the architecture's
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(Tokenizer(tokenizer))
    }

    /// The ids of a text, without first and last token.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.0.encode(text, false).map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// CLIP's byte-pair encoding (transformers' `CLIPTokenizer`): lower case, words by a pattern, `</w>` at their ends.
fn clip(vocab: &str, merges: &str) -> tokenizers::Result<tokenizers::Tokenizer> {
    let model = BPE::from_file(vocab, merges).unk_token(END.into()).end_of_word_suffix("</w>".into()).build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ")?;
    let normalizers: [NormalizerWrapper; 3] = [NFC.into(), spaces.into(), Lowercase.into()];
    tokenizer.with_normalizer(Some(Normalizers::new(normalizers.to_vec())))?;
    let words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let words = Split::new(SplitPattern::Regex(words.into()), SplitDelimiterBehavior::Removed, true)?;
    let steps: [PreTokenizerWrapper; 2] = [words.into(), ByteLevel::new(false, true, false).into()];
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(steps.to_vec())));
    tokenizer.add_special_tokens([AddedToken::from(START, true), AddedToken::from(END, true)])?;
    Ok(tokenizer)
}

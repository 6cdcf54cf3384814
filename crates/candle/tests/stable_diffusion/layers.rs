//! The parts of a model, each alone.

use crate::{CPU, difference, theirs, tiny, waves};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::text_model::{Activation, ClipTextConfig, ClipTextTransformer};
use candle_transformers::models::stable_diffusion::vae::{AutoEncoderKL, AutoEncoderKLConfig};
use piadm_candle::stable_diffusion::{Autoencoder, AutoencoderConfig, TextConfig, TextEncoder, UNet, UNetConfig};

#[test]
fn the_unet_is_candles_with_a_time_for_each_row() {
    let times = [999.0, 0.0, 500.5, 1.0, 21.0];
    for (second, json) in [(false, tiny::UNET), (true, tiny::UNET_V2)] {
        let config: UNetConfig = serde_json::from_str(json).unwrap();
        let (map, ours) = tiny::filled(|tensors| UNet::new(tensors, &config)).unwrap();
        let theirs = theirs(VarBuilder::from_varmap(&map, DType::F32, &CPU), second);
        let text = waves(&[5, 12, 16]);
        // the second size is odd
        for (height, width) in [(8, 8), (7, 5)] {
            let x = waves(&[5, 4, height, width]);
            let all = ours.forward(&x, &times, &text).unwrap();
            for (i, time) in times.iter().enumerate() {
                let row = |tensor: &Tensor| tensor.narrow(0, i, 1).unwrap();
                let expected = theirs.forward(&row(&x), *time, &row(&text)).unwrap();
                let alone = ours.forward(&row(&x), &[*time], &row(&text)).unwrap();
                assert_eq!(difference(&alone, &expected), 0.0, "{second} {time}");
                assert!(difference(&row(&all), &expected) < 3e-6, "{}", difference(&row(&all), &expected));
            }
            // times matter
            let other = ours.forward(&x, &[500.0; 5], &text).unwrap();
            assert!(difference(&other, &all) > 1e-2, "{}", difference(&other, &all));
        }
    }
}

#[test]
fn the_text_encoder_is_candles() {
    let config: TextConfig = serde_json::from_str(tiny::TEXT).unwrap();
    let (map, ours) = tiny::filled(|tensors| TextEncoder::new(tensors, &config)).unwrap();
    let theirs = ClipTextConfig {
        vocab_size: 64,
        embed_dim: 16,
        activation: Activation::QuickGelu,
        intermediate_size: 32,
        max_position_embeddings: 12,
        pad_with: None,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        projection_dim: 16,
    };
    let tensors = VarBuilder::from_varmap(&map, DType::F32, &CPU).pp("text_model");
    let theirs = ClipTextTransformer::new(tensors, &theirs).unwrap();
    let ids = Tensor::new(
        &[[62u32, 5, 9, 63, 63, 63, 63, 63, 63, 63, 63, 63], [62, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 63]],
        &CPU,
    );
    let ids = ids.unwrap();
    let expected = theirs.forward_with_mask(&ids, usize::MAX).unwrap();
    let found = ours.forward(&ids).unwrap();
    assert!(difference(&found, &expected) < 3e-6, "{}", difference(&found, &expected));
}

/// One layer whose attention is switched off, in f64 with the error function as an integral.
#[test]
fn the_text_encoder_of_the_second_version_has_the_exact_gelu() {
    let json =
        tiny::TEXT.replace("quick_gelu", "gelu").replace(r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 1"#);
    let config: TextConfig = serde_json::from_str(&json).unwrap();
    let (map, _) = tiny::filled(|tensors| TextEncoder::new(tensors, &config)).unwrap();
    let layer = "text_model.encoder.layers.0";
    let get = |name: &str| map.data().lock().unwrap()[name].as_tensor().clone();
    for name in ["weight", "bias"] {
        let name = format!("{layer}.self_attn.out_proj.{name}");
        let zeros = get(&name).zeros_like().unwrap();
        map.data().lock().unwrap()[&name].set(&zeros).unwrap();
    }
    let ours = TextEncoder::new(VarBuilder::from_varmap(&map, DType::F32, &CPU), &config).unwrap();
    let values =
        |name: &str| -> Vec<f64> { get(name).to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap() };
    let norm = |x: &[f64], name: &str| -> Vec<f64> {
        let (weight, bias) = (values(&format!("{name}.weight")), values(&format!("{name}.bias")));
        let mean = x.iter().sum::<f64>() / 16.0;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 16.0;
        (0..16).map(|i| (x[i] - mean) / (variance + 1e-5).sqrt() * weight[i] + bias[i]).collect()
    };
    let linear = |x: &[f64], name: &str| -> Vec<f64> {
        let (weight, bias) = (values(&format!("{name}.weight")), values(&format!("{name}.bias")));
        let row = |i: usize| x.iter().zip(&weight[i * x.len()..]).map(|(a, b)| a * b).sum::<f64>() + bias[i];
        (0..bias.len()).map(row).collect()
    };
    let gelu = |x: f64| {
        let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let n = 2000;
        let middle = |i: usize| density((i as f64 + 0.5) / n as f64 * x);
        x * (0.5 + (0..n).map(middle).sum::<f64>() * x / n as f64)
    };
    let (tokens, positions) = (
        values("text_model.embeddings.token_embedding.weight"),
        values("text_model.embeddings.position_embedding.weight"),
    );
    let ids = [62u32, 7, 63];
    let found = ours.forward(&Tensor::new(&[ids], &CPU).unwrap()).unwrap();
    for (place, id) in ids.iter().enumerate() {
        let x: Vec<f64> = (0..16).map(|i| tokens[*id as usize * 16 + i] + positions[place * 16 + i]).collect();
        let inner = linear(&norm(&x, &format!("{layer}.layer_norm2")), &format!("{layer}.mlp.fc1"));
        let inner: Vec<f64> = inner.into_iter().map(gelu).collect();
        let out = linear(&inner, &format!("{layer}.mlp.fc2"));
        let x: Vec<f64> = x.iter().zip(&out).map(|(a, b)| a + b).collect();
        let expected = norm(&x, "text_model.final_layer_norm");
        let found: Vec<f32> = found.get(0).unwrap().get(place).unwrap().to_vec1().unwrap();
        // the tanh form is off by up to 5e-4
        assert!(found.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{found:?} {expected:?}");
    }
}

#[test]
fn images_are_encoded_to_the_mean_and_decoded_as_candle_does() {
    let config: AutoencoderConfig = serde_json::from_str(tiny::AUTOENCODER).unwrap();
    let (map, ours) = tiny::filled(|tensors| Autoencoder::new(tensors, &config)).unwrap();
    let theirs = AutoEncoderKLConfig { block_out_channels: vec![32, 32], ..Default::default() };
    let tensors = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let theirs = AutoEncoderKL::new(tensors, 3, 3, theirs).unwrap();
    let images = waves(&[2, 3, 16, 16]).affine(0.5, 0.5).unwrap();
    let latents = ours.encode(&images).unwrap();
    assert_eq!(difference(&ours.encode(&images).unwrap(), &latents), 0.0);
    let decoded = ours.decode(&latents).unwrap();
    // one image at a time: all but the first of a call are wrong in candle-transformers 0.11.1
    for i in 0..2 {
        let of = |batch: &Tensor| batch.narrow(0, i, 1).unwrap();
        let gaussian = theirs.encode(&of(&images).affine(2.0, -1.0).unwrap()).unwrap();
        let draws: Vec<Tensor> = (0..400).map(|_| (gaussian.sample().unwrap() * 0.18215).unwrap()).collect();
        let draws = Tensor::stack(&draws, 0).unwrap();
        let (mean, deviation) = (draws.mean(0).unwrap(), draws.var(0).unwrap().sqrt().unwrap());
        let away = ((mean - of(&latents)).unwrap() / (deviation / 20.0).unwrap()).unwrap().abs().unwrap();
        let away = away.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        // standard errors, of 256 elements
        assert!(away < 5.5, "{away}");

        let expected = theirs.decode(&(of(&latents) / 0.18215).unwrap()).unwrap();
        let expected = ((expected / 2.0).unwrap() + 0.5).unwrap().clamp(0.0, 1.0).unwrap();
        let found = of(&decoded);
        assert!(difference(&found, &expected) < 1e-5, "{}", difference(&found, &expected));
    }
}

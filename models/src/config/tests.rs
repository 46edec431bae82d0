use serde_json::{Value, json};

use super::*;

fn parse(value: &Value) -> Result<ModelConfig> {
    ModelConfig::parse(value.to_string().as_bytes(), Path::new("dir/config.json"))
}

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 128,
    })
}

fn with(mut value: Value, changes: &Value) -> Value {
    let object = value.as_object_mut().unwrap();
    object.extend(changes.as_object().unwrap().clone());
    value
}

fn decoder(value: &Value) -> DecoderConfig {
    match parse(value).unwrap().architecture {
        Architecture::Decoder(decoder) => decoder,
        other => panic!("not a decoder: {other:?}"),
    }
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = parse(&llama()).unwrap();
    assert_eq!(
        (config.task(), config.outcomes(), config.vocab_size()),
        (Task::CausalLm, 50, Some(50))
    );
    let decoder = decoder(&llama());
    assert_eq!((decoder.head_dim, decoder.kv_heads, decoder.tied), (16, 2, false));
    assert_eq!((decoder.rms_norm_eps, decoder.rope.theta), (1e-6, 10_000.0));
    assert_eq!(
        (decoder.qkv_bias, decoder.output_bias, decoder.mlp_bias),
        (false, false, false)
    );
}

#[test]
fn rope_is_read_from_both_spellings() {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    });
    let older = with(llama(), &json!({"rope_scaling": llama3, "rope_theta": 500000.0}));
    let newer = with(
        llama(),
        &json!({"rope_parameters": with(llama3, &json!({"rope_theta": 500000.0}))}),
    );
    assert_eq!(decoder(&older).rope, decoder(&newer).rope);
    assert_eq!(decoder(&older).rope.theta, 500_000.0);
    let linear = with(llama(), &json!({"rope_scaling": {"type": "linear", "factor": 2.0}}));
    assert_eq!(decoder(&linear).rope.scaling, RopeScaling::Linear { factor: 2.0 });
    // Nothing lies between: the interpolation would divide by 0.
    let flat = with(
        llama(),
        &json!({"rope_scaling": {"type": "llama3", "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}}),
    );
    assert!(
        parse(&flat)
            .unwrap_err()
            .to_string()
            .contains("`rope_scaling.high_freq_factor` is 4")
    );
    let null = with(llama(), &json!({"rope_scaling": null}));
    assert_eq!(decoder(&null).rope.scaling, RopeScaling::Default);
}

#[test]
fn windows_follow_each_family() {
    let mistral = with(
        llama(),
        &json!({"architectures": ["MistralForCausalLM"], "sliding_window": 8}),
    );
    assert_eq!(decoder(&mistral).windows, [Some(8); 3]);
    let off = with(mistral, &json!({"sliding_window": null}));
    assert_eq!(decoder(&off).windows, [None; 3]);
    let qwen = with(
        llama(),
        &json!({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 8, "max_window_layers": 2}),
    );
    assert_eq!(decoder(&qwen).windows, [None; 3]);
    assert!(decoder(&qwen).qkv_bias && !decoder(&qwen).output_bias);
    let qwen = with(qwen, &json!({"use_sliding_window": true}));
    assert_eq!(decoder(&qwen).windows, [None, None, Some(8)]);
    let types = json!({"layer_types": ["sliding_attention", "full_attention", "full_attention"]});
    assert_eq!(decoder(&with(qwen, &types)).windows, [Some(8), None, None]);
}

#[test]
fn refusals_name_the_key_and_what_is_known() {
    let cases = [
        (
            json!({"architectures": ["GPT2LMHeadModel"]}),
            "`architectures` is `GPT2LMHeadModel`",
            "LlamaForCausalLM",
        ),
        (
            json!({"hidden_act": "gelu"}),
            "`hidden_act` is `gelu`",
            "supported: silu",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
            "`rope_scaling.rope_type` is `yarn`",
            "llama3",
        ),
        (
            json!({"rope_scaling": {"type": "llama3"}}),
            "`rope_scaling.factor` is missing",
            "a number above 0",
        ),
        (
            json!({"hidden_size": "64"}),
            "`hidden_size` is \"64\"",
            "a whole number above 0",
        ),
        (
            json!({"num_key_value_heads": 3}),
            "`num_key_value_heads` is 3",
            "must divide",
        ),
        (
            json!({"vocab_size": null}),
            "`vocab_size` is missing",
            "a whole number above 0",
        ),
        (json!({"torch_dtype": "int8"}), "`torch_dtype` is `int8`", "float16"),
    ];
    for (change, what, mend) in cases {
        let message = parse(&with(llama(), &change)).unwrap_err().to_string();
        assert!(
            message.starts_with("dir/config.json: ") && message.contains(what) && message.contains(mend),
            "{message}"
        );
    }
    let message = ModelConfig::parse(b"{", Path::new("config.json"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("is not JSON"), "{message}");
    let nameless = parse(&json!({"hidden_size": 3})).unwrap_err().to_string();
    assert!(nameless.contains("`architectures` is missing"), "{nameless}");
}

#[test]
fn classes_are_in_order_and_whole() {
    let mlp = json!({"model_type": "decant-mlp", "image_size": 8, "num_channels": 1, "hidden_sizes": [32],
        "id2label": {"1": "one", "0": "zero", "2": "two"}});
    let config = parse(&mlp).unwrap();
    assert_eq!(config.labels.as_deref().unwrap(), ["zero", "one", "two"]);
    assert_eq!((config.name(), config.outcomes()), ("MlpForImageClassification", 3));
    assert_eq!(
        config.image_shape().unwrap(),
        ImageShape {
            channels: 1,
            height: 8,
            width: 8
        }
    );
    let hole = with(mlp, &json!({"id2label": {"0": "zero", "2": "two"}}));
    assert!(parse(&hole).unwrap_err().to_string().contains("each of 0 to 1"));
}

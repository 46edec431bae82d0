//! Models for teaching and for learning, from and to Hugging Face directories.

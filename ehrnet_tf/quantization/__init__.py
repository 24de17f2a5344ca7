"""Models of 8-bit integers by tfmot. The only place of the package where `tf_keras` is used."""

"""The parts of `ehrnet_tf.data.check`: what is looked at in a data set, one module a subject. No tensorflow here."""

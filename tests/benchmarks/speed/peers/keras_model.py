"""Keras' WideDeepModel on the work of training (see `epoch`), by TensorFlow 2.15."""

import numpy as np
import tensorflow as tf
from epoch import show_rate


def begin(rows, threads):
    """A model, and what trains it."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = wide_deep(rows)
    ids, numbers, label = rows["ids"], rows["numbers"], rows["label"].astype(np.float32)

    def fit(part):
        wide = {"ids": ids[part], "crosses": rows["crosses"][part]}
        deep = {"ids": ids[part], "numbers": numbers[part]}
        data = tf.data.Dataset.from_tensor_slices(((wide, deep), label[part]))
        shuffled = data.shuffle(len(label[part])).batch(int(rows["batch"])).prefetch(2)
        model.fit(shuffled, verbose=0)

    return fit


def wide_deep(rows):
    """A linear model of ids and crosses beside towers; FTRL and AdaGrad."""
    sizes, cross_sizes = rows["sizes"].tolist(), rows["cross_sizes"].tolist()
    embedding = int(rows["embedding"])
    layers = tf.keras.layers
    ids = layers.Input((len(sizes),), dtype=tf.int32, name="ids")
    crosses = layers.Input((len(cross_sizes),), dtype=tf.int32, name="crosses")
    weights = [layers.Embedding(size, 1)(ids[:, i]) for i, size in enumerate(sizes)]
    weights += [layers.Embedding(size, 1)(crosses[:, i]) for i, size in enumerate(cross_sizes)]
    wide = tf.keras.Model({"ids": ids, "crosses": crosses}, layers.Add()(weights))
    deep_ids = layers.Input((len(sizes),), dtype=tf.int32, name="ids")
    numbers = layers.Input((rows["numbers"].shape[1],), name="numbers")
    vectors = [layers.Embedding(size, embedding)(deep_ids[:, i]) for i, size in enumerate(sizes)]
    flow = layers.Concatenate()([*vectors, numbers])
    for width in rows["hidden"].tolist():
        flow = layers.Dense(width, activation="relu")(flow)
    deep = tf.keras.Model({"ids": deep_ids, "numbers": numbers}, layers.Dense(1)(flow))
    model = tf.keras.experimental.WideDeepModel(wide, deep, activation="sigmoid")
    ftrl = tf.keras.optimizers.Ftrl(0.005, l1_regularization_strength=0.01)
    model.compile([ftrl, tf.keras.optimizers.Adagrad(0.01)], "binary_crossentropy")
    return model


if __name__ == "__main__":
    show_rate(begin)

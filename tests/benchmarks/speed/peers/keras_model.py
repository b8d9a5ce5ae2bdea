"""Keras' WideDeepModel on the work of training, run by an interpreter that has TensorFlow 2.15.

    python keras_model.py ROWS.npz THREADS

prints one JSON object: rows a second of an epoch after a first, shorter one, and versions.
"""

import json
import sys
import time

import numpy as np
import tensorflow as tf

EMBEDDING, HIDDEN, BATCH = 32, (1024, 512, 256), 1024


def main() -> None:
    """Train, print."""
    path, threads = sys.argv[1], int(sys.argv[2])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    rows = np.load(path)
    model = wide_deep(
        rows["sizes"].tolist(), rows["cross_sizes"].tolist(), rows["numbers"].shape[1]
    )
    columns = (
        {"ids": rows["ids"], "crosses": rows["crosses"]},
        {"ids": rows["ids"], "numbers": rows["numbers"]},
    )
    data = tf.data.Dataset.from_tensor_slices((columns, rows["label"].astype(np.float32)))
    count = len(rows["label"])
    data = data.shuffle(count).batch(BATCH).prefetch(2)
    model.fit(data.take(20), verbose=0)
    started = time.perf_counter()
    model.fit(data, verbose=0)
    rate = count / (time.perf_counter() - started)
    print(json.dumps({"rate": rate, "versions": {"tensorflow": tf.__version__}}))


def wide_deep(sizes, cross_sizes, numbers):
    """A linear model of ids and crosses beside towers; FTRL and AdaGrad."""
    layers = tf.keras.layers
    ids = layers.Input((len(sizes),), dtype=tf.int32, name="ids")
    crosses = layers.Input((len(cross_sizes),), dtype=tf.int32, name="crosses")
    weights = [layers.Embedding(size, 1)(ids[:, i]) for i, size in enumerate(sizes)]
    weights += [layers.Embedding(size, 1)(crosses[:, i]) for i, size in enumerate(cross_sizes)]
    wide = tf.keras.Model({"ids": ids, "crosses": crosses}, layers.Add()(weights))
    deep_ids = layers.Input((len(sizes),), dtype=tf.int32, name="ids")
    given = layers.Input((numbers,), name="numbers")
    vectors = [layers.Embedding(size, EMBEDDING)(deep_ids[:, i]) for i, size in enumerate(sizes)]
    flow = layers.Concatenate()([*vectors, given])
    for width in HIDDEN:
        flow = layers.Dense(width, activation="relu")(flow)
    deep = tf.keras.Model({"ids": deep_ids, "numbers": given}, layers.Dense(1)(flow))
    model = tf.keras.experimental.WideDeepModel(wide, deep, activation="sigmoid")
    ftrl = tf.keras.optimizers.Ftrl(0.005, l1_regularization_strength=0.01)
    model.compile([ftrl, tf.keras.optimizers.Adagrad(0.01)], "binary_crossentropy")
    return model


if __name__ == "__main__":
    main()

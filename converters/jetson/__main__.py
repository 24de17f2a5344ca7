"""``python3 -m ehrnet_tf.converters.jetson``: see `deploy`."""

import sys

from ehrnet_tf.converters.jetson.deploy import main

if __name__ == "__main__":
    sys.exit(main())

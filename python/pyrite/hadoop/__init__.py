"""Files in Hadoop's formats, read and written inside Python workers.

:mod:`.writables` turns Python values into Hadoop's Writables and back, :mod:`.sequence` is the
SequenceFile container, :mod:`.text` reads and writes lines, :mod:`.splits` cuts files for
partitions, :mod:`.output` commits what tasks wrote, :mod:`.formats` knows Java's names for all that.
"""

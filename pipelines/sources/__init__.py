"""Where samples come from: a small file for each kind of source, and what several kinds stand on.

protocol            what a source owes: entries by name, their bytes, a listing
labels, table       labels and splits by folders, or by a file that lists them

folder              files in folders; remote_folder on a store; files, those that a table lists
archive             a folder in a zip or tar: members, with zip_members and tar_members
webdataset          samples of several members of a tar: tar_members too
tfrecord, tfds      records of tf.train.Examples: example_files and example, of what record_file says of
                    tfrecord_file and array_record_file; tfds_place and tfds_spec find and read a prepared dataset
parquet             rows of Parquet and Arrow
arrays, hdf5, idx, cifar    images of one size: stacked
coco, voc           boxes in pictures: crops

container           what all have in common whose samples lie in a few files
"""

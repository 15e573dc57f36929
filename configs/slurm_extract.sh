#!/bin/bash
# A store filled by a job array, one GPU each; jobs know nothing of each other:  sbatch configs/slurm_extract.sh
#
# Each takes its part of the chunks of 16 videos, and whichever ends last joins them. Where parts failed or were stopped,
# submit it again: what is there is passed over. With --array=1 one job makes all that is left.
#SBATCH --job-name=fsar-extract
#SBATCH --array=1-16
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --output=%x-%A-%a.out

set -euo pipefail
srun fsar extract --store runs/features -c data/ssv2_small -c method/prototype_head --devices 1 --shard auto

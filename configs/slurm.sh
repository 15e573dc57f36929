#!/bin/bash
# Training on two nodes of four GPUs each:  sbatch configs/slurm.sh
#
# Lightning reads ranks and addresses from SLURM's own variables: nothing of them is set here. What must agree is
#   --nodes            with --trainer.num_nodes
#   --ntasks-per-node  with --trainer.devices      (one task per GPU, started by srun)
# Each process takes its share of the numbered episodes, and in evaluation of the videos too; the accuracy is that of one
# process. data.train_episodes must be a multiple of all processes times data.episodes_per_batch.
#SBATCH --job-name=fsar
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=SIGUSR1@120
#SBATCH --output=%x-%j.out

set -euo pipefail
RUN=${RUN:-runs/$SLURM_JOB_NAME-$SLURM_JOB_ID}
PARALLEL=(--trainer.accelerator gpu --trainer.strategy ddp --trainer.devices "$SLURM_NTASKS_PER_NODE" --trainer.num_nodes "$SLURM_NNODES")
METHOD=(-c data/ssv2_small -c method/clip_fsar)

# A frozen encoder: encode every video once, one share per process, then train and test on the stored features.
#   srun fsar extract --store runs/features "${METHOD[@]}" "${PARALLEL[@]}"
#   and below: --data.features runs/features
# An extraction or a job that was interrupted goes on when it is submitted again.

srun fsar fit --run "$RUN" -c trainer "${METHOD[@]}" "${PARALLEL[@]}"
srun fsar test --run "$RUN"
